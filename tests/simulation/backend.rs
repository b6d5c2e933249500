//! What backends do about requests: mostly what they should.

use super::asks::Answer;
use super::messages::{content, in_chunks};
use super::settings::Theme;
use super::wire::Stage;
use super::world::{Happening, World};

/// Something that a backend does.
#[derive(Debug)]
pub enum Act {
    /// Sends bytes of an answer.
    Say(Vec<u8>),
    /// It has answered.
    Answered,
    /// Sends what nobody asked for, unless somebody has asked since then.
    Blurt,
    /// Closes the connection.
    Close,
    /// Closes it unless somebody has asked since then.
    CloseIdle,
    /// Breaks it.
    Reset,
}

/// What it is going to do about a request.
#[derive(Debug)]
pub struct Plan {
    /// Once it has the head; otherwise once it has all of it.
    at_head: bool,
    /// It does not read the body.
    is_deaf: bool,
    acts: Vec<(u64, Act)>,
}

#[derive(Clone, Copy, Debug)]
enum Conduct {
    Answers,
    Cuts,
    Breaks,
    Closes,
    Stalls,
    StallsInHead,
    StallsInBody,
    Surplus,
    Nonsense,
    BadFraming,
    BadChunks,
    HugeHead,
    Interims,
    Switches,
}

const BAD: [(u64, Conduct); 13] = [
    (10, Conduct::Cuts),
    (10, Conduct::Breaks),
    (10, Conduct::Closes),
    (5, Conduct::Stalls),
    (3, Conduct::StallsInHead),
    (5, Conduct::StallsInBody),
    (10, Conduct::Surplus),
    (4, Conduct::Nonsense),
    (3, Conduct::BadFraming),
    (5, Conduct::BadChunks),
    (2, Conduct::HugeHead),
    (2, Conduct::Interims),
    (1, Conduct::Switches),
];

impl World {
    /// A connection begins. Some break at once.
    pub fn begins(&mut self, wire: usize) {
        let mood = self.moods[self.wires[wire].backend];
        if self.dice.chance(mood / 10) {
            let act = if self.dice.chance(50) { Act::Close } else { Act::Reset };
            let wait = self.dice.pause(20);
            self.plan_acts(wire, vec![(wait, act)]);
        }
    }

    pub fn backend_reads_soon(&mut self, wire: usize) {
        if !self.wires[wire].is_deaf && !std::mem::replace(&mut self.wires[wire].reading_is_due, true) {
            let wait = self.dice.pause(self.settings.pace_ms());
            self.after(wait, Happening::BackendReads(wire));
        }
    }

    pub fn backend_reads(&mut self, wire: usize) {
        let of = &mut self.wires[wire];
        of.reading_is_due = false;
        if of.is_dropped || of.is_deaf || of.stage != Stage::Open {
            return;
        }
        let n = if self.dice.chance(70) { of.unread } else { self.dice.size(0, of.unread) };
        self.make_room(wire, n);
        self.consider(wire);
        if self.wires[wire].unread > 0 {
            self.backend_reads_soon(wire);
        }
    }

    /// Sees whether there is a request to do something about.
    fn consider(&mut self, wire: usize) {
        let of = &self.wires[wire];
        let Some(sent) = of.requests.get(of.planned) else { return };
        let (read, id, end) = (of.read, sent.id, sent.end);
        if sent.head_end.is_none_or(|end| read < end) {
            return;
        }
        if of.plan.is_none() {
            let plan = self.draw_plan(wire, id);
            self.trace(|| format!("wire {wire}, request {id}: backend plans {plan:.300?}"));
            self.wires[wire].is_deaf |= plan.is_deaf;
            self.wires[wire].plan = Some(plan);
        }
        let of = &mut self.wires[wire];
        if of.plan.as_ref().is_some_and(|plan| plan.at_head) || end.is_some_and(|end| read >= end) {
            of.planned += 1;
            if let Some(plan) = of.plan.take() {
                self.plan_acts(wire, plan.acts);
            }
        }
    }

    fn plan_acts(&mut self, wire: usize, acts: Vec<(u64, Act)>) {
        self.wires[wire].acts.extend(acts);
        self.go_on_acting(wire);
    }

    fn go_on_acting(&mut self, wire: usize) {
        let of = &mut self.wires[wire];
        if let Some(&(wait, _)) = of.acts.front()
            && !std::mem::replace(&mut of.is_acting, true)
        {
            self.after(wait, Happening::BackendActs(wire));
        }
    }

    pub fn backend_acts(&mut self, wire: usize) {
        self.wires[wire].is_acting = false;
        self.act(wire);
        self.go_on_acting(wire);
    }

    /// Does the next thing, whether its time has come or not.
    pub fn act(&mut self, wire: usize) {
        let of = &mut self.wires[wire];
        if of.is_dropped || of.stage != Stage::Open {
            of.acts.clear();
            return;
        }
        let asked_since = of.requests.len() > of.answered;
        match of.acts.pop_front().map(|(_, act)| act) {
            None => {}
            Some(Act::Say(bytes)) => {
                self.trace(|| format!("wire {wire} brings {}", super::asks::shown(&bytes)));
                self.arrive(wire, &bytes);
                let of = &mut self.wires[wire];
                if of.acts.front().is_some_and(|(_, act)| matches!(act, Act::Answered)) {
                    of.acts.pop_front();
                    of.answered += 1;
                }
            }
            Some(Act::Answered) => of.answered += 1,
            Some(Act::Blurt | Act::CloseIdle) if asked_since => {}
            Some(Act::Blurt) => {
                self.arrive(wire, b"HTTP/1.1 200 OK\r\nX-Answer: 999999\r\nContent-Length: 0\r\n\r\n")
            }
            Some(Act::Close | Act::CloseIdle) => {
                of.is_ended = true;
                of.is_deaf = true;
                of.acts.clear();
                // What is unread when a connection is closed makes a reset of it.
                let (worker, unread) = (of.worker, of.unread);
                self.trace(|| format!("wire {wire} is closed by its backend"));
                let of = &mut self.wires[wire];
                of.stage = Stage::Closed;
                if unread > 0 && self.dice.chance(50) {
                    self.after(1, Happening::Bounces(wire));
                }
                self.spark(worker, super::world::Spark::Wire(wire));
            }
            Some(Act::Reset) => {
                of.acts.clear();
                self.break_wire(wire);
            }
        }
    }

    /// Somebody wrote to a connection that its backend has closed.
    pub fn bounces(&mut self, wire: usize) {
        if !self.wires[wire].is_dropped && self.wires[wire].stage == Stage::Closed {
            self.break_wire(wire);
        }
    }

    fn draw_plan(&mut self, wire: usize, id: usize) -> Plan {
        let backend = self.wires[wire].backend;
        let mood = self.moods[backend];
        let uploads = self.settings.theme == Theme::Uploads;
        let cuts = uploads && self.dice.chance(mood / 3);
        let conduct = if cuts {
            Conduct::Cuts
        } else if self.dice.chance(mood) {
            self.dice.weighted(&BAD)
        } else {
            Conduct::Answers
        };
        let at_head = self.dice.chance(if uploads { mood / 2 } else { mood / 4 });
        let is_deaf = self.dice.chance(mood / 15);
        let mut acts = Vec::new();
        let end = match self.dice.below(3) {
            0 => Some(Act::Close),
            1 => Some(Act::Reset),
            _ => None,
        };
        match conduct {
            Conduct::Closes => acts.push((self.wait(), Act::Close)),
            Conduct::Breaks => acts.push((self.wait(), Act::Reset)),
            Conduct::Stalls => {}
            Conduct::Nonsense => {
                let text: &[u8] = self.dice.one_of(&[
                    &b"<html>hello</html>\r\n\r\n"[..],
                    b"HTTP/2.0 200 OK\r\n\r\n",
                    b"\r\n\r\n\r\n",
                    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
                    b"\0\0\0\0",
                ]);
                acts.push((self.wait(), Act::Say(text.to_vec())));
                acts.extend(end.map(|end| (self.wait(), end)));
            }
            Conduct::BadFraming => {
                let fields = self.dice.one_of(&[
                    "Content-Length: 3\r\nContent-Length: 4",
                    "Content-Length: 3\r\nTransfer-Encoding: chunked",
                    "Transfer-Encoding: gzip",
                    "Content-Length: -1",
                ]);
                let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nabc");
                acts.push((self.wait(), Act::Say(text.into_bytes())));
            }
            Conduct::HugeHead => {
                let text =
                    format!("HTTP/1.1 200 OK\r\nX-Long: {}", "x".repeat(self.settings.largest_head + 200));
                self.pieces(text.into_bytes(), &mut acts);
            }
            Conduct::Interims => {
                let count = self.dice.size(30, 90);
                let text = "HTTP/1.1 102 Processing\r\n\r\n".repeat(count);
                self.pieces(text.into_bytes(), &mut acts);
            }
            Conduct::Switches => {
                let text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
                acts.push((self.wait(), Act::Say(text.into())));
            }
            Conduct::Answers
            | Conduct::Cuts
            | Conduct::StallsInHead
            | Conduct::StallsInBody
            | Conduct::Surplus
            | Conduct::BadChunks => {
                self.wires[wire].is_tainted |= self.plan_answer(conduct, backend, id, &mut acts)
            }
        }
        Plan { at_head, is_deaf, acts }
    }

    fn wait(&mut self) -> u64 {
        self.dice.pause(self.settings.pace_ms())
    }

    /// Plans an answer; whether there will be more than that.
    fn plan_answer(
        &mut self,
        conduct: Conduct,
        backend: usize,
        id: usize,
        acts: &mut Vec<(u64, Act)>,
    ) -> bool {
        let (mood, buffer) = (self.moods[backend], self.settings.buffer);
        let to_head = self.asks[id].method == "HEAD";
        let status = match mood {
            0 => self.dice.weighted(&[(20, 200), (2, 204), (2, 304), (3, 404)]),
            _ => self.dice.weighted(&[(20, 200), (1, 204), (1, 304), (2, 404), (2, 500), (2, 503), (1, 504)]),
        };
        let number = self.answers.len();
        let length = match self.dice.below(60) {
            0 => self.dice.size(1, 100 * buffer.min(1500)),
            1..6 => 0,
            6..42 => self.dice.size(1, 300),
            _ => self.dice.size(1, 3 * buffer.min(4096)),
        };
        let has_body = !to_head && !matches!(status, 204 | 304);
        let body = if has_body { content(id, number, length) } else { Vec::new() };
        let size = self.dice.size(1, length.max(1));
        let framing = match conduct {
            Conduct::BadChunks => 1,
            _ if self.settings.theme == Theme::Uploads => self.dice.weighted(&[(2, 0), (2, 1), (5, 2)]),
            _ => self.dice.weighted(&[(5, 0), (4, 1), (2, 2)]),
        };
        let keeps = self.settings.keep_alive && framing != 2 && self.dice.chance(85);
        let mut is_whole = !matches!(
            conduct,
            Conduct::Cuts | Conduct::StallsInHead | Conduct::StallsInBody | Conduct::BadChunks
        );
        let mut text = Vec::new();
        for _ in 0..self.dice.weighted(&[(10, 0), (2, 1), (1, 3)]) {
            let interim =
                self.dice.one_of(&["100 Continue", "102 Processing", "103 Early Hints\r\nLink: </a>"]);
            text.extend_from_slice(format!("HTTP/1.1 {interim}\r\n\r\n").as_bytes());
        }
        let mut head = format!("HTTP/1.1 {status} Text\r\nX-Answer: {number}\r\n");
        let calm = self.settings.calm;
        if !keeps && (calm || self.dice.chance(70)) {
            head.push_str("Connection: close\r\n");
        } else if self.dice.chance(20) {
            let (timeout, max) = (self.dice.below(3), self.dice.between(1, 4));
            head.push_str(&format!("Keep-Alive: timeout={timeout}, max={max}\r\n"));
        }
        let rough = self.dice.chance(20);
        let wire_body = match (framing, has_body) {
            (1, true) => {
                head.push_str("Transfer-Encoding: chunked\r\n");
                in_chunks(&body, size, rough)
            }
            (2, true) => body.clone(),
            _ => {
                head.push_str(&format!("Content-Length: {length}\r\n"));
                body.clone()
            }
        };
        head.push_str("\r\n");
        let head_end = text.len() + head.len();
        text.extend_from_slice(head.as_bytes());
        text.extend_from_slice(&wire_body);

        let mut end = None;
        let mut surplus = &b""[..];
        match conduct {
            Conduct::Cuts => {
                let at = self.dice.size(1, text.len().max(2) - 1);
                text.truncate(at);
                end = Some(if self.dice.chance(50) { Act::Close } else { Act::Reset });
                if framing == 2 && at >= head_end && has_body && matches!(end, Some(Act::Close)) {
                    // Nobody can see that anything is missing.
                    end = Some(Act::Reset);
                }
                is_whole = !has_body && at >= head_end;
            }
            Conduct::StallsInHead => text.truncate(self.dice.size(1, head_end - 1)),
            Conduct::StallsInBody => {
                text.truncate(self.dice.size(head_end, text.len()));
                is_whole = text.len() == head_end + wire_body.len() && !(framing == 2 && has_body);
            }
            Conduct::BadChunks if has_body => {
                let at = head_end + 1;
                text.splice(at..at, *b"zz\r\n");
            }
            Conduct::BadChunks => is_whole = true,
            Conduct::Surplus if framing == 2 && has_body => {}
            Conduct::Surplus => {
                surplus = self.dice.one_of(&[
                    &b"x"[..],
                    b"\r\n",
                    b"HTTP/1.1 200 OK\r\nX-Answer: 888888\r\nContent-Length: 0\r\n\r\n",
                ]);
            }
            _ => {}
        }
        self.pieces(text, acts);
        if let Some((_, Act::Say(last))) = acts.last_mut() {
            // Not later: that would be the answer to another request.
            last.extend_from_slice(surplus);
        }
        if is_whole {
            acts.push((0, Act::Answered));
            let waits = self.wait();
            end = match () {
                () if framing == 2 && has_body => Some(Act::Close),
                () if !keeps => Some(Act::Close),
                // Idle connections are closed, in one way or another.
                () => match self.dice.below(if mood == 0 && self.settings.theme != Theme::Pool {
                    12
                } else {
                    6
                }) {
                    0 if mood > 0 => Some(Act::Blurt),
                    1 if mood > 0 => Some(Act::Reset),
                    2 if !calm => Some(Act::CloseIdle),
                    3 if mood > 0 => Some(Act::Close),
                    _ => None,
                },
            };
            acts.extend(end.take().map(|end| (waits, end)));
        }
        acts.extend(end.map(|end| (self.dice.below(3), end)));
        self.answers.push(Answer { ask: id, backend, status, body, is_whole });
        !surplus.is_empty()
    }

    /// The same bytes in pieces, each after a while.
    fn pieces(&mut self, text: Vec<u8>, acts: &mut Vec<(u64, Act)>) {
        let mut rest = text.as_slice();
        let pieces = self.dice.weighted(&[(10, 1), (4, 2), (2, 5), (1, 12)]);
        let first = self.wait();
        let mut wait = first;
        for _ in 1..pieces {
            if rest.len() > 1 {
                let (piece, behind) = rest.split_at(self.dice.size(1, rest.len() - 1));
                acts.push((wait, Act::Say(piece.to_vec())));
                rest = behind;
                wait = self.wait();
            }
        }
        acts.push((wait, Act::Say(rest.to_vec())));
    }
}
