//! An HTTP proxy on loopback that knows CONNECT.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Tunnels to wherever it is asked, and writes down each request's head. Its threads end with the tunnels; the one that accepts, with
/// the process.
pub(crate) struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// `authorization` is the value of `Proxy-Authorization` that is demanded, if any.
    pub(crate) fn start(authorization: Option<&'static str>) -> Self {
        Self::answering(authorization, None, "HTTP/1.1 200 Connection established\r\n\r\n")
    }

    /// A proxy whose tunnels all lead to `port` on loopback, whatever host is named, and begin with `ready`.
    pub(crate) fn leading_to(port: u16, ready: impl Into<String>) -> Self {
        Self::answering(None, Some(port), ready)
    }

    fn answering(authorization: Option<&'static str>, port: Option<u16>, ready: impl Into<String>) -> Self {
        let ready = ready.into();
        Self::serving(move |head, client| {
            if let Some(expected) = authorization {
                if !head.contains(&format!("Proxy-Authorization: {expected}\r\n")) {
                    let _ =
                        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
                    return;
                }
            }
            let Some(target) = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else { return };
            let connected = match port {
                Some(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, port)),
                None => TcpStream::connect(target),
            };
            let Ok(server) = connected else {
                let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
                return;
            };
            if client.write_all(ready.as_bytes()).is_ok() {
                tunnel(client, &server);
            }
        })
    }

    /// A proxy that does `answer` to each CONNECT.
    pub(crate) fn serving(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (answer, written) = (Arc::new(answer), heads.clone());
        std::thread::spawn(move || {
            while let Ok((mut client, _)) = listener.accept() {
                let (answer, written) = (answer.clone(), written.clone());
                std::thread::spawn(move || {
                    let head = read_head(&mut client);
                    written.lock().unwrap().push(head.clone());
                    answer(&head, &mut client);
                });
            }
        });
        Self { port, heads }
    }

    /// `user` is `user:password@` or nothing.
    pub(crate) fn url(&self, user: &str) -> String {
        format!("http://{user}127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn read_head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn tunnel(client: &TcpStream, server: &TcpStream) {
    let (mut upstream, mut request) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let up = std::thread::spawn(move || {
        let _ = std::io::copy(&mut request, &mut upstream);
        let _ = upstream.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (server, client);
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = up.join();
}
