//! Owns: a mail server for tests, on loopback: it accepts every mail and keeps it.

use crate::support::World;
use server::Server;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Default)]
pub struct Mailbox(Arc<Mutex<Vec<String>>>);

/// A node on the world's database whose mail goes to the returned mailbox.
pub async fn with_mailbox(world: &World) -> (Server, Mailbox) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = world.config.clone();
    config.mail.smtp_url = format!("smtp://{}", listener.local_addr().unwrap()).into();
    let server = Server::open(config, world.clock.clone()).await.unwrap();
    let mailbox = Mailbox::default();
    let kept = mailbox.clone();
    let tasks = server.tasks.clone();
    server.tasks.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let kept = kept.clone();
            tasks.spawn(async move { kept.converse(socket).await.unwrap_or_default() });
        }
    });
    (server, mailbox)
}

impl Mailbox {
    /// The mails that came since the last call, by subject.
    pub fn take(&self) -> Vec<String> {
        let mut mails = std::mem::take(&mut *self.0.lock().unwrap());
        mails.sort_by_key(|mail| mail.split_once("\nSubject: ").map(|(_, after)| after.to_owned()));
        mails
    }

    async fn converse(&self, socket: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = socket.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 test\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            let answer: &[u8] = match line.get(..4).unwrap_or_default() {
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    let mut mail = String::new();
                    let mut quoted = false;
                    while let Some(line) = lines.next_line().await? {
                        if line == "." {
                            break;
                        }
                        quoted = quoted && !line.starts_with("--");
                        if let Some(encoding) = line.strip_prefix("Content-Transfer-Encoding: ") {
                            quoted = encoding == "quoted-printable";
                        }
                        mail.push_str(&if quoted { unquoted(&line) } else { format!("{line}\n") });
                    }
                    self.0.lock().unwrap().push(mail);
                    b"250 kept\r\n"
                }
                "QUIT" => b"221 bye\r\n",
                _ => b"250 ok\r\n",
            };
            write.write_all(answer).await?;
        }
        Ok(())
    }
}

/// One line of quoted-printable; one that goes on in the next has no end.
fn unquoted(line: &str) -> String {
    let (line, end) = line.strip_suffix('=').map_or((line, "\n"), |line| (line, ""));
    let mut parts = line.split('=');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2).unwrap_or_default(), 16).unwrap());
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    format!("{}{end}", String::from_utf8_lossy(&bytes))
}

/// The token of the link in a mail.
pub fn token_in(mail: &str) -> String {
    let (_, after) = mail.split_once("token=").expect("a link with a token");
    after.chars().take_while(|letter| letter.is_ascii_alphanumeric() || "-_".contains(*letter)).collect()
}
