//! Connections that are kept, and what becomes of a request whose connection had ended.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use aero2::{Error, Issuer, PrivateKeyJwt, UreqTransport};

use crate::support::http::{Recorded, read_request, response};
use crate::support::recorder::Recorder;

/// A server that ends each kept connection with its second POST, unanswered, and what it was sent.
struct Forgetful {
    url: String,
    posts: Arc<Mutex<Vec<Recorded>>>,
}

impl Forgetful {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let posts = Arc::new(Mutex::new(Vec::new()));
        let (issuer, written) = (url.clone(), posts.clone());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (issuer, written) = (issuer.clone(), written.clone());
                std::thread::spawn(move || serve(stream, &issuer, &written));
            }
        });
        Self { url, posts }
    }

    fn posts(&self) -> Vec<Recorded> {
        self.posts.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, issuer: &str, posts: &Mutex<Vec<Recorded>>) {
    let mut posted = 0;
    while let Some(request) = read_request(&mut stream) {
        let body = if request.method == "POST" {
            posted += 1;
            posts.lock().unwrap().push(request);
            r#"{"active":false}"#.to_owned()
        } else {
            format!(r#"{{"issuer":"{issuer}"}}"#)
        };
        if posted > 1 || stream.write_all(response("200 OK", "", &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn issuer(server: &Forgetful) -> Issuer {
    let transport = UreqTransport::builder().no_proxy().build().unwrap();
    Issuer::builder(&server.url).transport(Recorder::new(transport)).build().unwrap()
}

fn field<'f>(request: &'f Recorded, name: &str) -> &'f str {
    let mut pairs = request.body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn the_second_try_after_a_stale_connection_has_a_new_assertion() -> Result<(), Error> {
    let server = Forgetful::start();
    let pem = include_str!("../data/client-keys/es256.pem");
    let introspector = issuer(&server).introspector("svc", pem).client_auth(PrivateKeyJwt::new()).build()?;
    let _ = introspector.introspect("one")?;
    let _ = introspector.introspect("two")?;
    let posts = server.posts();
    assert_eq!(posts.iter().map(|post| field(post, "token")).collect::<Vec<_>>(), ["one", "two", "two"]);
    let mut assertions: Vec<&str> = posts.iter().map(|post| field(post, "client_assertion")).collect();
    assertions.sort_unstable();
    assertions.dedup();
    assert_eq!(assertions.len(), 3, "each assertion is sent once");
    Ok(())
}

#[test]
fn a_secret_is_sent_once_more_as_it_is() -> Result<(), Error> {
    let server = Forgetful::start();
    let issuer = issuer(&server);
    let introspector = issuer.introspector("svc", "hunter2").build()?;
    let _ = introspector.introspect("one")?;
    let _ = introspector.introspect("two")?;
    let posts = server.posts();
    assert_eq!(posts.len(), 3);
    assert_eq!(posts[1].body, posts[2].body);
    assert_eq!(issuer.stats().introspections(), 2, "a second try is no second introspection");
    Ok(())
}
