//! A network that loses a reply: the request arrives, and its answer does not come back.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use crate::cli::failure::CommandError;

/// Passes requests on to a server, waits for each answer, and drops it; gives the address to ask.
pub(super) fn towards(server: SocketAddr) -> Result<SocketAddr, CommandError> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // A connection that fails loses the answer too.
            let _ = lose(client, server);
        }
    });
    Ok(address)
}

fn lose(mut client: TcpStream, server: SocketAddr) -> std::io::Result<()> {
    let head = head(&mut client)?;
    let mut server = TcpStream::connect(server)?;
    server.write_all(&head)?;
    // The first of the answer is there only once the renewal is durable.
    let mut first = [0; 1];
    server.read_exact(&mut first)
}

/// A renewal has no body.
fn head(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}
