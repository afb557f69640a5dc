use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::config::test_files::Files;
use crate::dev::sink::Sink;

/// A server that says this to whoever comes, and hangs up once it has heard something.
async fn saying(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    address
}

fn config(http: SocketAddr) -> Config {
    let files = Files::new();
    Config::parse(&files.with(&format!("http.listen = '{http}'")), &[]).unwrap()
}

#[tokio::test]
async fn a_node_is_ready_when_its_page_says_so() {
    let yes = saying("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").await;
    assert_eq!(ready(&config(yes)).await.unwrap(), "ok\n");
    let no = saying("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\ndraining\n").await;
    assert_eq!(ready(&config(no)).await.unwrap_err().to_string(), "not ready: draining");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for nobody in [closed, saying("220 mx.example ESMTP\r\n").await] {
        let error = ready(&config(nobody)).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{nobody} does not answer: ")), "{error}");
    }
}

#[tokio::test]
async fn an_smtp_server_takes_mail_when_it_greets_and_knows_ehlo() {
    let sink = Sink::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let said = takes_mail(&sink.address().to_string()).await.unwrap();
    assert!(said.starts_with(&format!("{} says \"220 ", sink.address())), "{said}");
    for (text, named) in [
        ("554 5.7.1 go away\r\n", "says 554 go away"),
        ("421 4.3.2 draining\r\n", "says 421 draining"),
        ("220 mx.example\r\n", "hangs up"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak SMTP"),
    ] {
        let server = saying(text).await;
        let error = takes_mail(&server.to_string()).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{server} {named}")), "{text}: {error}");
    }
    assert!(takes_mail("no-port").await.unwrap_err().to_string().starts_with("no-port has no address"));
}

#[test]
fn a_listener_on_all_addresses_is_reached_on_loopback() {
    for (listener, reached) in
        [("0.0.0.0:25", "127.0.0.1:25"), ("[::]:25", "[::1]:25"), ("192.0.2.1:25", "192.0.2.1:25")]
    {
        assert_eq!(reachable(listener.parse().unwrap()), reached.parse().unwrap());
    }
}
