//! `Via` (RFC 9110 7.6.3): who passed a request on, and so whether it runs in
//! a circle.

use httparse::Header;

use super::fields::{Known, elements, known};

/// Whether somebody who calls himself `pseudonym` has passed these fields on.
///
/// Comments are not taken apart: one that somebody left open must not hide the
/// names behind it.
pub fn names(fields: &[Header<'_>], pseudonym: &str) -> bool {
    fields
        .iter()
        .filter(|field| known(field.name.as_bytes()) == Known::Via)
        .flat_map(|field| elements(field.value))
        .filter_map(received_by)
        .any(|by| by.eq_ignore_ascii_case(pseudonym.as_bytes()))
}

/// The second word of an element, up to a comment.
fn received_by(element: &[u8]) -> Option<&[u8]> {
    let mut words = element.split(|&b| b == b' ' || b == b'\t').filter(|word| !word.is_empty());
    words.nth(1)?.split(|&b| b == b'(').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_name_is_found_wherever_it_stands() {
        let found = |values: &[&str]| {
            let fields: Vec<_> =
                values.iter().map(|value| Header { name: "via", value: value.as_bytes() }).collect();
            names(&fields, "monkey-12")
        };
        for values in [
            &["1.1 monkey-12"][..],
            &["HTTP/1.1\tMONKEY-12"],
            &["1.0 a, 1.1 b (x, y)", "1.1 c,1.1  monkey-12 (Monkey)"],
            &["1.1 monkey-12(Monkey)"],
            &["1.1 a (open, 1.1 monkey-12"],
        ] {
            assert!(found(values), "{values:?}");
        }
        for values in
            [&[][..], &["1.1 monkey-123"], &["1.1 a (monkey-12)"], &["monkey-12"], &["1.1 a, b monkey"]]
        {
            assert!(!found(values), "{values:?}");
        }
    }
}
