//! Listening sockets on 127.0.0.1 only, the next free port, and the program on a taken one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context as _;

/// Binds `127.0.0.1:port` (`0`: any free port) and makes the listener ready for tokio.
///
/// If the port is taken, the error names `what` and `flag`, e.g. "the gateway" and "--port".
pub fn bind_port(port: u16, what: &str, flag: &str) -> anyhow::Result<tokio::net::TcpListener> {
    let listener = match TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
        Ok(listener) => listener,
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
            anyhow::bail!(
                "port {port} for {what} is taken by {}: stop that, or choose another port with `{flag} {}`",
                describe_port_owner(port),
                port.checked_add(1).unwrap_or(8787)
            );
        }
        Err(e) => return Err(e).with_context(|| format!("could not listen on 127.0.0.1:{port} for {what}")),
    };
    listener.set_nonblocking(true)?;
    Ok(tokio::net::TcpListener::from_std(listener)?)
}

/// How many ports above the wanted one are tried.
const MAX_PORTS_TRIED: u16 = 100;

/// A port of 127.0.0.1 that no program listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreePort {
    /// The port.
    pub port: u16,
    /// The program on the wanted port, if that is another one.
    pub taken_by: Option<String>,
}

/// Finds `wanted`, or the next free port above it. Another program may take it at any time.
pub fn find_free_port(wanted: u16) -> anyhow::Result<FreePort> {
    for port in wanted..wanted.saturating_add(MAX_PORTS_TRIED) {
        match TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Ok(_) => {
                let taken_by = (port != wanted).then(|| describe_port_owner(wanted));
                return Ok(FreePort { port, taken_by });
            }
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(e).with_context(|| format!("could not listen on 127.0.0.1:{port}")),
        }
    }
    anyhow::bail!("the port {wanted} and the {MAX_PORTS_TRIED} above it are taken; choose another one with an option")
}

fn describe_port_owner(port: u16) -> String {
    find_port_owner(port).map_or_else(|| "another program".to_owned(), |(pid, name)| format!("{name} (pid {pid})"))
}

/// Id and name of the process that listens on `port`. Linux only, and only for the user's own
/// processes.
fn find_port_owner(port: u16) -> Option<(u32, String)> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = std::fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| find_listening_inode(line, port))
    })?;
    let wanted = format!("socket:[{inode}]");
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let holds = std::fs::read_dir(process.path().join("fd"))
            .ok()?
            .flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()));
        let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
        holds.then(|| (pid, name.trim().to_owned()))
    })
}

/// The socket's inode, if this line of `/proc/net/tcp` is a listener (state `0A`) on `port`.
/// Columns: proc(5).
fn find_listening_inode(line: &str, port: u16) -> Option<String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = columns.get(1)?.rsplit_once(':')?;
    let same = u16::from_str_radix(local_port, 16).ok()? == port && *columns.get(3)? == "0A";
    same.then(|| columns.get(9).map(|inode| (*inode).to_owned())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_a_way_out() {
        let first = bind_port(0, "the gateway", "--port").unwrap();
        let port = first.local_addr().unwrap().port();
        let error = bind_port(port, "the gateway", "--port").unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} for the gateway is taken by")), "{error}");
        assert!(error.contains("--port"), "{error}");
    }

    #[tokio::test]
    async fn the_next_free_port_is_found_and_the_program_on_the_wanted_one_is_named() {
        let first = bind_port(0, "the gateway", "--port").unwrap();
        let port = first.local_addr().unwrap().port();
        let found = find_free_port(port).unwrap();
        assert!(found.port > port && found.taken_by.is_some(), "{found:?}");
        assert_eq!(find_free_port(found.port).unwrap(), FreePort { port: found.port, taken_by: None });
    }

    #[test]
    fn a_listener_is_found_in_the_socket_table() {
        let line =
            "   0: 0100007F:2253 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100";
        assert_eq!(find_listening_inode(line, 8787).as_deref(), Some("4242"));
        assert_eq!(find_listening_inode(line, 8788), None);
        assert_eq!(find_listening_inode(&line.replace(" 0A ", " 01 "), 8787), None);
    }
}
