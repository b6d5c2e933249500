//! Files on disk, and those that they include.

use super::*;

#[test]
fn load_reads_the_file_or_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.conf");
    assert_eq!(
        load(&path).unwrap_err().to_string(),
        format!(
            "{}: the file cannot be read (No such file or directory (os error 2)); check that it exists and that the server's user may read it",
            path.display()
        )
    );
    fs::write(&path, "[PROXY_ENTRY]\n Match x\n ServerList a\n").unwrap();
    assert_eq!(load(&path).unwrap().entries.len(), 1);
}

#[test]
fn included_files_stand_in_for_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join("servers"), " ServerList b:2\n").unwrap();
    fs::write(root.join("sub/more"), "@INCLUDE ../servers\n[PROXY_ENTRY]\n Match y\n").unwrap();
    fs::write(
        root.join("p.conf"),
        "[PROXY_ENTRY]\n Match x\n ServerList a:1\n @include ${DIR:-sub}/more\n ServerList c:3",
    )
    .unwrap();
    let config = load(&root.join("p.conf")).unwrap();
    assert_eq!(servers(&config.entries[0]), ["a:1", "b:2"]);
    assert_eq!(servers(&config.entries[1]), ["c:3"]);
}

#[test]
fn a_line_of_an_included_file_was_taken_for_one_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("sites")).unwrap();
    fs::write(root.join("sites/shop"), "# shop\n[PROXY_ENTRY]\n Match y\n ServerList b\n").unwrap();
    fs::write(root.join("p.conf"), "[PROXY_ENTRY]\n Match x\n ServerList a\n@INCLUDE sites/shop\n").unwrap();
    let config = load(&root.join("p.conf")).unwrap();
    let places: Vec<String> =
        config.entries.iter().map(|entry| config.place(&entry.path, entry.line)).collect();
    assert_eq!(places, ["p.conf:1", "sites/shop:2"]);
    let pattern = &config.entries[1].patterns[0];
    assert_eq!((config.place(&pattern.path, pattern.line), pattern.column), ("sites/shop:3".to_owned(), 8));
    assert_eq!(config.place(Path::new("/elsewhere/a\nb"), 7), "/elsewhere/a\\nb:7");
}

#[test]
fn includes_that_fail() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("bad"), " PoolSize x\n PoolSize 3\n@INCLUDE p.conf\n").unwrap();
    fs::write(
        root.join("p.conf"),
        "[PROXY_ENTRY]\n @INCLUDE none\n PoolSize 1\n @INCLUDE\n @INCLUDE bad\n @USE x\n PoolSize 4\n",
    )
    .unwrap();
    let text = load(&root.join("p.conf")).unwrap_err().to_string();
    let text = text.replace(&format!("{}/", root.display()), "");
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "p.conf:2:11: included file 'none' cannot be read (No such file or directory (os error 2)); check that it exists, relative to this file's folder, and that the server's user may read it",
            "p.conf:4:2: @INCLUDE names no file; write '@INCLUDE file', relative to this file's folder",
            "bad:1:2: key 'PoolSize' stands already at p.conf:3; keep one of the two lines",
            "bad:1:11: 'x' is no value for PoolSize; write auto, or a whole number from 0 to 65535",
            "bad:2:2: key 'PoolSize' stands already at p.conf:3; keep one of the two lines",
            "bad:3:10: 'p.conf' is being read already, it includes itself; remove this @INCLUDE",
            "p.conf:6:2: unknown directive '@USE'; the only one is '@INCLUDE file'",
            "p.conf:7:2: key 'PoolSize' stands already at line 3; keep one of the two lines",
        ]
    );
}

#[test]
fn includes_go_eight_levels_deep() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for level in 0..9 {
        fs::write(root.join(level.to_string()), format!("@INCLUDE {}\n", level + 1)).unwrap();
    }
    fs::write(root.join("8"), "[PROXY_ENTRY]\n Match x\n ServerList a\n").unwrap();
    assert_eq!(load(&root.join("0")).unwrap().entries.len(), 1);
    fs::write(root.join("8"), "@INCLUDE 9\n").unwrap();
    let text = load(&root.join("0")).unwrap_err().to_string();
    assert!(
        text.ends_with("is included more than 8 levels deep; include it from a file further up"),
        "{text}"
    );
}

#[test]
fn includes_are_bounded_in_number() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "@INCLUDE b\n".repeat(257)).unwrap();
    fs::write(folder.path().join("b"), "# nothing\n").unwrap();
    let errors = load(&folder.path().join("a")).unwrap_err();
    assert!(matches!(errors.iter().next().unwrap().kind(), ErrorKind::IncludeCount { limit: 256, .. }));
}
