//! Owns: a mail server that accepts everything and sends nothing on. Plain, without encryption or passwords.

use crate::world::World;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

const LONGEST_LINE: u64 = 64 * 1024;
const LONGEST_MAIL: usize = 10 * 1024 * 1024;

/// Accepts connections until the sandbox ends.
pub async fn serve(world: World, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let world_of_task = world.clone();
                world.tasks.spawn(async move {
                    // A client that breaks off has nothing more to say.
                    drop(converse(&world_of_task, stream).await);
                });
            }
            Err(error) => {
                tracing::warn!("a mail connection could not be accepted: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

/// The mail that a client is building up.
#[derive(Default)]
struct Envelope {
    from: Option<String>,
    to: Vec<String>,
}

async fn converse(world: &World, stream: TcpStream) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut envelope = Envelope::default();
    write.write_all(b"220 sandbox ESMTP\r\n").await?;
    while let Some(line) = read_line(&mut read).await? {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let verb = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" => b"250-sandbox\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n250 SIZE 10485760\r\n",
            "HELO" | "NOOP" => b"250 OK\r\n",
            "MAIL" => {
                envelope = Envelope { from: Some(address(&line)), to: Vec::new() };
                b"250 OK\r\n"
            }
            "RCPT" if envelope.from.is_some() => {
                envelope.to.push(address(&line));
                b"250 OK\r\n"
            }
            "RCPT" => b"503 MAIL first\r\n",
            "DATA" if !envelope.to.is_empty() => {
                write.write_all(b"354 End with a line that is one dot\r\n").await?;
                match read_data(&mut read).await? {
                    Some(raw) => {
                        let Envelope { from, to } = std::mem::take(&mut envelope);
                        world.mailbox.deliver(from.unwrap_or_default(), to, &raw, world.clock.now());
                        b"250 OK\r\n"
                    }
                    None => b"552 The mail is too large\r\n",
                }
            }
            "DATA" => b"503 RCPT first\r\n",
            "RSET" => {
                envelope = Envelope::default();
                b"250 OK\r\n"
            }
            "QUIT" => {
                write.write_all(b"221 Bye\r\n").await?;
                return Ok(());
            }
            _ => b"502 The sandbox does not know this command\r\n",
        };
        write.write_all(answer).await?;
    }
    Ok(())
}

/// One line with its end, or `None` at the end of the connection.
async fn read_line(read: &mut BufReader<tokio::net::tcp::OwnedReadHalf>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    read.take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
    Ok(if line.is_empty() { None } else { Some(line) })
}

/// The mail up to the line that is one dot, with the dots that were added at the start of lines taken away. `None` if it
/// is too large.
async fn read_data(read: &mut BufReader<tokio::net::tcp::OwnedReadHalf>) -> std::io::Result<Option<Vec<u8>>> {
    let mut mail = Vec::new();
    let mut is_too_large = false;
    let mut is_line_start = true;
    while let Some(line) = read_line(read).await? {
        if is_line_start && (line == b".\r\n" || line == b".\n") {
            return Ok((!is_too_large).then_some(mail));
        }
        let unstuffed = if is_line_start { line.strip_prefix(b".").unwrap_or(&line) } else { &line };
        is_line_start = line.ends_with(b"\n");
        is_too_large |= mail.len() + unstuffed.len() > LONGEST_MAIL;
        if !is_too_large {
            mail.extend_from_slice(unstuffed);
        }
    }
    Err(std::io::ErrorKind::UnexpectedEof.into())
}

/// The address between `<` and `>`.
fn address(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(address, _)| address);
    inside.unwrap_or_else(|| line.split_once(':').map_or("", |(_, rest)| rest.trim())).to_owned()
}
