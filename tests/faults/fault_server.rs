//! An HTTP server on raw sockets that does to a client what networks and bad servers do.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http::{Recorded, read_request, response};

/// What happens to a request. The connection is closed afterwards.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// Nobody listens any more, and open connections have ended.
    Refused,
    /// The request stays unread, so that closing resets the connection.
    Unread(fn(&mut TcpStream)),
    /// This is sent, whatever the request.
    Text(&'static str),
    /// A whole answer: status line, further headers as whole lines, body.
    Status(&'static str, &'static str, &'static str),
    /// The request was read; the text is the body that would be the right one.
    Answer(fn(&mut Line<'_>, &str)),
}

/// Serves bodies by path over HTTP/1.1, keeps connections open, and applies faults by path.
pub(crate) struct FaultServer {
    address: SocketAddr,
    url: String,
    shared: Arc<Shared>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    bodies: Mutex<BTreeMap<String, String>>,
    faults: Mutex<BTreeMap<String, Fault>>,
    requests: Mutex<Vec<Recorded>>,
}

impl FaultServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            Self { address, url: format!("http://{address}"), shared: Arc::default(), acceptor: Mutex::default() };
        server.open(listener);
        server
    }

    fn open(&self, listener: TcpListener) {
        let shared = self.shared.clone();
        shared.stop.store(false, Ordering::SeqCst);
        *self.acceptor.lock().unwrap() = Some(std::thread::spawn(move || accept(&listener, &shared)));
    }

    fn close(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.lock().unwrap().take() {
            let _ = acceptor.join();
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What `path` answers from now on, with status 200. Everything else is a 404.
    pub(crate) fn respond(&self, path: &str, body: impl Into<String>) {
        self.shared.bodies.lock().unwrap().insert(path.to_owned(), body.into());
    }

    /// What happens to requests for `path` from now on; to be refused happens to all.
    pub(crate) fn fault(&self, path: &str, fault: Fault) {
        if matches!(fault, Fault::Refused) {
            return self.close();
        }
        self.shared.faults.lock().unwrap().insert(path.to_owned(), fault);
    }

    /// Ends all faults; not possible while somebody else has the port.
    pub(crate) fn heal(&self) -> std::io::Result<()> {
        self.shared.faults.lock().unwrap().clear();
        if self.shared.stop.load(Ordering::SeqCst) {
            self.open(TcpListener::bind(self.address)?);
        }
        Ok(())
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.close();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut connections = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if shared.stop.load(Ordering::SeqCst) {
            break;
        }
        let shared = shared.clone();
        connections.push(std::thread::spawn(move || serve(stream, &shared)));
    }
    for connection in connections {
        let _ = connection.join();
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(TICK)).unwrap();
    stream.set_write_timeout(Some(TICK)).unwrap();
    while let Some(path) = peek_path(&stream, shared) {
        let fault = shared.faults.lock().unwrap().get(&path).copied();
        if let Some(Fault::Unread(fault)) = fault {
            return fault(&mut stream);
        }
        let mut line = Line { stream: &mut stream, stop: &shared.stop };
        let Some(request) = read_request(&mut line) else { return };
        let path = request.path.clone();
        shared.requests.lock().unwrap().push(request);
        let body = shared.bodies.lock().unwrap().get(&path).cloned();
        let answer = match &body {
            Some(body) => response("200 OK", "", body),
            None => response("404 Not Found", "", ""),
        };
        match fault {
            Some(Fault::Answer(fault)) => return fault(&mut line, body.as_deref().unwrap_or_default()),
            Some(Fault::Text(text)) => return line.finish(text),
            Some(Fault::Status(status, headers, body)) => return line.finish(response(status, headers, body)),
            _ => line.send(answer),
        };
    }
}

/// The path of the request that comes next, which stays where it is.
fn peek_path(stream: &TcpStream, shared: &Shared) -> Option<String> {
    let mut buffer = [0; 4096];
    while !shared.stop.load(Ordering::SeqCst) {
        match stream.peek(&mut buffer) {
            Ok(0) => return None,
            Ok(length) => {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if let Some((line, _)) = text.split_once("\r\n") {
                    return Some(line.split(' ').nth(1).unwrap_or_default().to_owned());
                }
            }
            Err(error) if is_tick(&error) => {}
            Err(_) => return None,
        }
    }
    None
}

/// A connection whose every wait ends with the server.
pub(crate) struct Line<'a> {
    stream: &'a mut TcpStream,
    stop: &'a AtomicBool,
}

impl Line<'_> {
    /// Sends; `false` when the client has gone or the server stops.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let mut bytes = bytes.as_ref();
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if is_tick(&error) && !self.stop.load(Ordering::SeqCst) => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Sends, and ends the connection once the client has had the chance to read everything.
    pub(crate) fn finish(&mut self, bytes: impl AsRef<[u8]>) {
        if self.send(bytes) && self.stream.shutdown(Shutdown::Write).is_ok() {
            self.hang();
        }
    }

    /// Says nothing more until the client goes away.
    pub(crate) fn hang(&mut self) {
        while self.pause() {}
    }

    pub(crate) fn hang_after(&mut self, text: &str) {
        if self.send(text) {
            self.hang();
        }
    }

    /// Sends `text` so many times, or until the client has gone.
    pub(crate) fn repeat(&mut self, text: &str, times: usize) {
        let pieces = (text.len() / 4096).max(4096 / text.len()).max(1);
        let block = text.repeat(pieces);
        for _ in 0..times / pieces {
            if !self.send(&block) {
                return;
            }
        }
        self.send(text.repeat(times % pieces));
    }

    /// One tick; `false` when the client has gone or the server stops.
    pub(crate) fn pause(&mut self) -> bool {
        !self.stop.load(Ordering::SeqCst) && self.stream.read(&mut [0]).is_err_and(|error| is_tick(&error))
    }

    /// A byte each tick.
    pub(crate) fn trickle(&mut self, text: &str) {
        for byte in text.bytes() {
            if !self.send([byte]) || !self.pause() {
                return;
            }
        }
        self.hang();
    }
}

impl Read for Line<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error) if is_tick(&error) && !self.stop.load(Ordering::SeqCst) => {}
                outcome => return outcome,
            }
        }
    }
}

fn is_tick(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// How often a waiting connection looks whether the server stops, and how fast a trickle is.
const TICK: Duration = Duration::from_millis(50);
