//! Clients who are wrong about a password, again and again, as somebody else from another address each
//! time: who stays the same would have to wait at flowgate, and cost nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::clock::now;
use crate::fault::{During, Fault, Result, fault};
use crate::load::PATIENCE;
use crate::rivals::Rival;

/// Tenants who are taken in turn.
const TENANTS: u32 = 1000;

/// Goes on until the process is ended; says after each stretch how many logins were refused so far, and in
/// what time.
pub fn go_on(
    rival: Rival,
    address: SocketAddr,
    clients: u32,
    stretch: Duration,
    mut say: impl FnMut(u64, Duration),
) -> Result<()> {
    let (done, attempts) = sync_channel(100);
    for client in 0..clients {
        let done = done.clone();
        std::thread::spawn(move || attempt_on(rival, address, client, &done));
    }
    let (begun, mut refused) = (now(), 0);
    loop {
        match attempts.recv_timeout(stretch) {
            Ok(attempt) => {
                attempt?;
                refused += 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return fault("nobody logs in any more"),
        }
        say(refused, begun.elapsed());
    }
}

fn attempt_on(rival: Rival, address: SocketAddr, client: u32, done: &SyncSender<Result<()>>) {
    for number in 0_u32.. {
        let [.., high, low] = number.to_be_bytes();
        let from = Ipv4Addr::new(127, 1 + client.to_be_bytes()[3], high, low);
        let tenant = if rival.is_flowgate() { 1 + number % TENANTS } else { 1 };
        let outcome = attempt(rival, address, from, tenant as usize);
        let is_over = outcome.is_err();
        if done.send(outcome).is_err() || is_over {
            return;
        }
    }
}

fn attempt(rival: Rival, address: SocketAddr, from: Ipv4Addr, tenant: usize) -> Result<()> {
    let (path, headers) = rival.wrong_login(tenant);
    let mut stream = connect_from(from, address).during("connecting from another address")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).during("the answer to a login")?;
    match answer.starts_with("HTTP/1.1 401 ") {
        true => Ok(()),
        false => Err(Fault(format!(
            "a login was answered with {}",
            answer.lines().next().unwrap_or_default()
        ))),
    }
}

fn connect_from(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::new(from.into(), 0))?;
    connect(&socket, &to)?;
    Ok(socket.into())
}
