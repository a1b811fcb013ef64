//! The mailbox, over a raw socket and with lettre.

use crate::support::{http, start};
use lettre::message::{Mailbox, MultiPart};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_raw_conversation_delivers_a_mail() {
    let sandbox = start().await;
    let (read, mut write) = TcpStream::connect(sandbox.smtp_addr).await.unwrap().into_split();
    let mut lines = BufReader::new(read).lines();
    for (send, expect) in [
        ("", "220"),
        ("DATA\r\n", "503"),
        ("HELO x\r\n", "250"),
        ("MAIL FROM:<a@demo.test>\r\n", "250"),
        ("RSET\r\n", "250"),
        ("RCPT TO:<b@demo.test>\r\n", "503"),
        ("MAIL FROM:<a@demo.test>\r\n", "250"),
        ("RCPT TO:<b@demo.test>\r\n", "250"),
        ("RCPT TO:<c@demo.test>\r\n", "250"),
        ("DATA\r\n", "354"),
        ("Subject: Dots\r\n\r\n..one\r\n...two\r\nhttps://x.test/?a=1\r\n.\r\n", "250"),
        ("NOPE\r\n", "502"),
        ("QUIT\r\n", "221"),
    ] {
        write.write_all(send.as_bytes()).await.unwrap();
        let line = lines.next_line().await.unwrap().unwrap();
        assert!(line.starts_with(expect), "{send:?} -> {line}");
    }
    let mails = sandbox.mail_to("c@demo.test");
    assert_eq!(mails[0].text, ".one\n..two\nhttps://x.test/?a=1");
    let page = http().get(format!("{}/mailbox/1", sandbox.base_url)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("<a href=\"https://x.test/?a=1\">"));
}

#[tokio::test]
async fn lettre_delivers() {
    let sandbox = start().await;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(&sandbox.smtp_url()).unwrap().build();
    let long_link = format!("http://127.0.0.1:3000/verify-email?token={}", "aB3-_".repeat(30));
    for number in 0..3 {
        let mail = Message::builder()
            .from("Tokenbank <no-reply@demo.test>".parse::<Mailbox>().unwrap())
            .to("Ada <ada@demo.test>".parse().unwrap())
            .subject(format!("Votre crédit — {number}"))
            .multipart(MultiPart::alternative_plain_html(format!("Open {long_link}\n— é"), "<p>hi</p>".to_owned()))
            .unwrap();
        transport.send(mail).await.unwrap();
    }
    let mails = sandbox.mail_to("ADA@demo.test");
    assert_eq!(mails.len(), 3);
    assert_eq!(mails[2].subject, "Votre crédit — 2");
    assert_eq!(mails[2].text, format!("Open {long_link}\n— é"));
    assert_eq!(mails[2].html.trim(), "<p>hi</p>");
    let json = http().get(format!("{}/control/mail?to=ada@demo.test", sandbox.base_url)).send().await.unwrap();
    assert_eq!(json.json::<serde_json::Value>().await.unwrap().as_array().unwrap().len(), 3);
}
