//! An exchange in the steady state takes no memory from the system: all that it needs is there
//! from those before it. Counted in the thread of the worker, over real connections.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests read the clock, and fail loudly")]

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use monkey_proxy_reverse::config;
use monkey_proxy_reverse::engine::{
    Awaits, ClientKey, End, Fate, Host, Now, Pipe, Received, RequestParts, Sent, Verdict, Worker, drive,
    setup,
};

/// Counts what the calling thread takes from the system allocator.
mod counting {
    #![allow(unsafe_code, reason = "an allocator is an unsafe trait; this one hands everything on")]

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        /// Constant at first and without a destructor: to reach it takes no memory.
        static TAKEN: Cell<usize> = const { Cell::new(0) };
        static HELD: Cell<isize> = const { Cell::new(0) };
    }

    struct Counting;

    #[global_allocator]
    static COUNTING: Counting = Counting;

    /// How often this thread has asked for memory.
    pub fn taken() -> usize {
        TAKEN.get()
    }

    /// How many bytes this thread has taken and not given back.
    pub fn held() -> isize {
        HELD.get()
    }

    fn count(more: usize, less: usize) {
        HELD.set(HELD.get() + more as isize - less as isize);
    }

    // SAFETY: each call goes to the system's allocator as it came, which keeps the promises.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            TAKEN.set(TAKEN.get() + 1);
            count(layout.size(), 0);
            // SAFETY: what the caller promises us is what `System` asks for.
            unsafe { System.alloc(layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            TAKEN.set(TAKEN.get() + 1);
            count(layout.size(), 0);
            // SAFETY: as above.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            TAKEN.set(TAKEN.get() + 1);
            count(size, layout.size());
            // SAFETY: as above; the block is one of `System`, all of them are.
            unsafe { System.realloc(block, layout, size) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            count(0, layout.size());
            // SAFETY: as above.
            unsafe { System.dealloc(block, layout) }
        }
    }
}

/// Exchanges before the count begins: all pools, buffers and tables have their size by then, and
/// a connection has once been changed for a new one (`PoolMaxRequests`).
const WARM_UP: usize = 1200;
/// Exchanges that are counted.
const COUNTED: usize = 1000;

#[test]
fn the_count_sees_what_is_taken() {
    let before = counting::taken();
    std::hint::black_box(Box::new(5));
    assert_eq!(counting::taken() - before, 1);
}

#[test]
fn a_small_answer_takes_no_memory() {
    let server = server(answer(3));
    expect_none(&format!("[PROXY_ENTRY]\nMatch ^/\nServerList {server}\n"), GET);
}

#[test]
fn an_answer_of_100_kb_takes_no_memory() {
    let server = server(answer(100_000));
    expect_none(&format!("[PROXY_ENTRY]\nMatch ^/\nServerList {server}\n"), GET);
}

#[test]
fn a_chunked_answer_takes_no_memory() {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..10 {
        answer.extend_from_slice(b"1000\r\n");
        answer.extend_from_slice(&[b'x'; 0x1000]);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    let server = server(answer);
    expect_none(&format!("[PROXY_ENTRY]\nMatch ^/\nServerList {server}\n"), GET);
}

#[test]
fn a_post_takes_no_memory() {
    let server = server(answer(3));
    let conf = format!("[PROXY_ENTRY]\nMatch ^/\nServerList {server}\n");
    let head = b"POST /c/d.php HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n";
    expect_none(&conf, Request { head, body: b"hello" });
}

#[test]
fn three_routes_and_three_servers_take_no_memory() {
    let [one, two, three] = [3, 1000, 5000].map(|length| server(answer(length)));
    for balancer in config::LoadBalancer::ALL {
        let conf = format!(
            "[PROXY_DEFAULTS]\nLoadBalancer {balancer}\n\
             [PROXY_ENTRY]\nMatch ^/a/.*\\.(php|html)$\nServerList {one}\n\
             [PROXY_ENTRY]\nMatch ^/b/\nServerList {two}\n\
             [PROXY_ENTRY]\nMatch ^/c/.*\\.php$\nServerList {one} {two} {three}\n\
             SetRequestHeader X-From %{{client_ip}}\nSetResponseHeader X-By proxy\n"
        );
        expect_none(&conf, GET);
    }
}

#[test]
fn what_is_told_of_each_request_takes_no_memory() {
    let server = server(answer(3));
    let conf = format!(
        "[PROXY_ENTRY]\nMatch ^/\nServer {server} name=app-1\nProxyLog /nobody/writes/it\n\
         RequestId X-Request-Id\nProxyStatus on\nExplain any\nSetRequestHeader X-Copy ${{request_id}}\n"
    );
    expect_none(&conf, GET);
}

/// More at once than a few: each has buffers and a connection of its own.
#[test]
fn a_hundred_at_once_take_no_memory() {
    let server = server(answer(1000));
    let mut run = Run::new(&format!("[PROXY_ENTRY]\nMatch ^/\nServerList {server}\n"), 0, false);
    expect_none_in(&mut run, GET, 100);
}

/// Each of many that wait for their answers has its place and its request; and when all are over,
/// none of their clients is known any more.
#[test]
fn a_waiting_exchange_takes_less_than_2_kb_and_an_idle_client_nothing() {
    const MANY: usize = 512;
    let (server, answers) = patient_server(answer(3));
    let mut run =
        Run::new(&format!("[PROXY_ENTRY]\nMatch ^/\nServerList {server}\nPoolSize {MANY}\n"), 1 << 20, true);
    let mut one_round = || {
        run.client.ended.set(0);
        (0..MANY).for_each(|_| run.begin(GET));
        let until = Instant::now() + Duration::from_secs(20);
        while answers.waiting() < MANY {
            assert!(Instant::now() < until, "{} of {MANY} came", answers.waiting());
            run.turn();
        }
        let waiting = counting::held();
        answers.let_go();
        run.finish(MANY);
        (waiting, counting::held())
    };
    let before = counting::held();
    // In the first round all of it is new: places, requests, connections to the server.
    let (waiting, _) = one_round();
    let each = (waiting - before) / MANY as isize;
    eprintln!("{each} bytes for each exchange that waits for its answer");
    assert!((1..2048).contains(&each), "{each} bytes for each");
    let (_, idle) = one_round();
    let (_, idle_again) = one_round();
    assert_eq!(idle_again, idle, "what is held for clients that ask nothing");
}

/// A request as the host hands it over.
#[derive(Clone, Copy)]
struct Request {
    head: &'static [u8],
    body: &'static [u8],
}

const GET: Request = Request {
    head: b"GET /c/d.php?e=f HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: test\r\n\
            Accept: */*\r\nCookie: session=0123456789abcdef\r\n\r\n",
    body: b"",
};

/// Runs exchanges one after the other, with hosts that know and that do not know how much a
/// client takes, and that do or do not take bytes out of a pipe; in the steady state none takes memory.
#[track_caller]
fn expect_none(conf: &str, request: Request) {
    for (room, may_splice) in [(0, false), (1 << 20, false), (1 << 20, true)] {
        expect_none_in(&mut Run::new(conf, room, may_splice), request, 1);
    }
}

#[track_caller]
fn expect_none_in(run: &mut Run, request: Request, at_once: usize) {
    (0..WARM_UP / at_once).for_each(|_| run.exchanges(request, at_once));
    let before = counting::taken();
    (0..COUNTED / at_once).for_each(|_| run.exchanges(request, at_once));
    let taken = counting::taken() - before;
    assert_eq!(taken, 0, "in {COUNTED} exchanges, {at_once} at once, room for {}", run.client.room);
}

/// One worker, and the loop of a server around it.
struct Run {
    worker: RefCell<Worker>,
    poll: Poll,
    events: Events,
    client: Client,
    begun: Instant,
}

impl Run {
    fn new(conf: &str, room: usize, may_splice: bool) -> Run {
        let config = config::from_text(Path::new("test"), conf.as_bytes(), &|_| None).unwrap();
        let shared = Arc::new(setup::build(&config, "test").unwrap());
        let worker = Worker::new(shared).unwrap();
        let poll = Poll::new().unwrap();
        poll.registry().register(&mut SourceFd(&worker.poll_fd()), Token(0), Interest::READABLE).unwrap();
        Run {
            worker: RefCell::new(worker),
            poll,
            events: Events::with_capacity(1),
            client: Client {
                room,
                nowhere: may_splice.then(|| File::options().write(true).open("/dev/null").unwrap()),
                ended: Cell::new(0),
            },
            begun: Instant::now(),
        }
    }

    fn now(&self) -> Now {
        let us = u64::try_from(self.begun.elapsed().as_micros()).unwrap() + 1000;
        let ms = us / 1000;
        // Dates change while it runs, as they do in life.
        Now { ms, us, unix: 1_800_000_000 + ms / 10 }
    }

    /// So many requests at once, from the verdict to the end of the answer.
    fn exchanges(&mut self, request: Request, count: usize) {
        self.client.ended.set(0);
        (0..count).for_each(|_| self.begin(request));
        self.finish(count);
    }

    /// Until so many are over.
    fn finish(&mut self, count: usize) {
        let until = Instant::now() + Duration::from_secs(10);
        while self.client.ended.get() < count {
            assert!(Instant::now() < until, "no answer");
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.poll.poll(&mut self.events, Some(Duration::from_millis(50))).unwrap();
        let now = self.now();
        self.worker.borrow_mut().turn(now);
        drive(&self.worker, &self.client, now);
    }

    fn begin(&self, request: Request) {
        let verdict = self.worker.borrow_mut().admit(b"/c/d.php");
        let Verdict::Proxy(route) = verdict else { panic!("the path belongs to a route") };
        let parts = RequestParts {
            head: request.head,
            behind: request.body,
            keeps_rest: false,
            rest_is_ours: false,
            fd: -1,
            client: "192.0.2.7",
            source: &[192, 0, 2, 7],
            secure: false,
            may_splice: self.client.nowhere.is_some(),
            may_keep_alive: true,
            awaits: Awaits { length: |_| true, chunked: |_| false },
            connection: 1,
        };
        self.worker.borrow_mut().begin(&route, &parts, self.now());
        drive(&self.worker, &self.client, self.now());
    }
}

/// A client that takes everything.
struct Client {
    room: usize,
    /// Where the bytes of pipes go.
    nowhere: Option<File>,
    ended: Cell<usize>,
}

impl Host for Client {
    fn send(&self, _: ClientKey, bytes: &[IoSlice<'_>]) -> Sent {
        Sent::Bytes(bytes.iter().map(|slice| slice.len()).sum())
    }

    fn room(&self, _: ClientKey) -> usize {
        self.room
    }

    fn splice(&self, _: ClientKey, from: &Pipe, bytes: usize) -> Sent {
        let nowhere = self.nowhere.as_ref().expect("the host said that it can");
        Sent::Bytes(from.pour(nowhere.as_fd(), bytes).unwrap())
    }

    fn receive(&self, _: ClientKey, _: &mut [u8]) -> Received {
        Received::Nothing
    }

    fn finish_sending(&self, _: ClientKey) -> bool {
        true
    }

    fn end(&self, _: ClientKey, end: End) {
        assert_eq!((end.status, end.fate), (200, Fate::KeepAlive));
        assert!(end.body_bytes > 0);
        self.ended.set(self.ended.get() + 1);
    }
}

fn answer(length: usize) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 06:00:00 GMT\r\nContent-Length: {length}\r\n\
         Content-Type: text/plain\r\nX-Backend: b1\r\n\r\n"
    );
    answer.extend(std::iter::repeat_n('x', length));
    answer.into_bytes()
}

/// A server in threads of its own, which gives everybody this answer.
fn server(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let answer: Arc<[u8]> = answer.into();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || serve(stream, &answer));
        }
    });
    addr
}

/// Requests that wait for their answers.
#[derive(Clone, Default)]
struct Answers(Arc<(Mutex<Waiting>, Condvar)>);

#[derive(Default)]
struct Waiting {
    count: usize,
    /// How often all were let go.
    rounds: usize,
}

impl Answers {
    fn waiting(&self) -> usize {
        self.0.0.lock().unwrap().count
    }

    fn let_go(&self) {
        let mut waiting = self.0.0.lock().unwrap();
        *waiting = Waiting { count: 0, rounds: waiting.rounds + 1 };
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let mut waiting = self.0.0.lock().unwrap();
        waiting.count += 1;
        let round = waiting.rounds;
        drop(self.0.1.wait_while(waiting, |now| now.rounds == round).unwrap());
    }
}

/// A server that gives this answer to all at once, when it is told to.
fn patient_server(answer: Vec<u8>) -> (SocketAddr, Answers) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let answers = Answers::default();
    let (answer, theirs): (Arc<[u8]>, _) = (answer.into(), answers.clone());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (answer, answers) = (Arc::clone(&answer), theirs.clone());
            thread::spawn(move || {
                // A request is one write here.
                while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
                    answers.wait();
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (addr, answers)
}

fn serve(mut stream: TcpStream, answer: &[u8]) {
    let mut buffer = [0; 4096];
    let mut seen = 0;
    loop {
        let Ok(n @ 1..) = stream.read(&mut buffer[seen..]) else { return };
        seen += n;
        let end = buffer[..seen].windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else { continue };
        let has_body = buffer.starts_with(b"POST");
        if !has_body || seen >= end + 4 + 5 {
            seen = 0;
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}
