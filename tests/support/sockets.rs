//! Sockets that std cannot make: reserved ports, chosen sources, resets, full backlogs.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, getsockname, listen,
    socket_with, sockopt,
};

/// Loopback of IPv4, any port.
pub const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Loopback of IPv6, any port.
pub const LOOPBACK6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

/// A port that is bound and does not listen: connecting to it is refused, and as long as
/// this value lives nobody else gets the number, yet its holder can listen on it.
pub struct Reserved {
    _fd: OwnedFd,
    addr: SocketAddr,
}

impl Reserved {
    /// Takes a free port of the given loopback address.
    pub fn new(loopback: SocketAddr) -> io::Result<Reserved> {
        let (fd, addr) = reserved(loopback)?;
        Ok(Reserved { _fd: fd, addr })
    }

    /// Takes a port that is free on every address, for a server that listens on all of them.
    pub fn everywhere() -> io::Result<Reserved> {
        let (fd, addr) = reserved(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
        Ok(Reserved { _fd: fd, addr: SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port())) })
    }

    /// Takes part in a port that somebody else has reserved, perhaps in another process.
    pub fn shared(addr: SocketAddr) -> io::Result<Reserved> {
        Ok(Reserved { _fd: bound(addr)?, addr })
    }

    /// The reserved address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Listens on the reserved port.
    pub fn listen(&self, backlog: i32) -> io::Result<OwnedFd> {
        let fd = bound(self.addr)?;
        listen(&fd, backlog)?;
        Ok(fd)
    }
}

/// Listens on a unix socket, replacing one that an earlier listener left there.
pub fn listen_unix(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&fd, &SocketAddrUnix::new(path)?)?;
    listen(&fd, 128)?;
    Ok(fd)
}

/// Accepts; the stream may be a unix one, which std's type reads, writes and shuts as well.
pub fn accept(listener: &OwnedFd) -> io::Result<TcpStream> {
    Ok(TcpStream::from(accept_with(listener, SocketFlags::CLOEXEC)?))
}

/// Connects from a chosen source address and with a chosen receive buffer.
pub fn connect_from(
    to: SocketAddr,
    from: Option<IpAddr>,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let fd = tcp(to)?;
    if let Some(bytes) = receive_buffer {
        sockopt::set_socket_recv_buffer_size(&fd, bytes)?;
    }
    if let Some(from) = from {
        bind(&fd, &SocketAddr::new(from, 0))?;
    }
    connect(&fd, &to)?;
    Ok(TcpStream::from(fd))
}

/// Starts a connect and does not wait for it.
pub fn connect_only_begun(to: SocketAddr) -> io::Result<TcpStream> {
    let fd = tcp(to)?;
    let stream = TcpStream::from(fd);
    stream.set_nonblocking(true)?;
    match connect(&stream, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(stream),
        Err(error) => Err(error.into()),
    }
}

/// Makes the next close of this socket a reset.
pub fn reset_on_close(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Sharing is allowed only once the port is ours: else a port would do that others share.
fn reserved(addr: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let fd = tcp(addr)?;
    bind(&fd, &addr)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    sockopt::set_socket_reuseport(&fd, true)?;
    let addr = SocketAddr::try_from(getsockname(&fd)?)?;
    Ok((fd, addr))
}

fn bound(addr: SocketAddr) -> io::Result<OwnedFd> {
    let fd = tcp(addr)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    sockopt::set_socket_reuseport(&fd, true)?;
    bind(&fd, &addr)?;
    Ok(fd)
}

fn tcp(addr: SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}
