//! Binding what the configuration says beats are heard on.

use std::{net::SocketAddr, path::Path};

use varta_config::{At, KernelFilter, Listen, ObserverConfig, Trust};

use super::{Addresses, RunError};
use crate::{
    ingest::{Bound, Kind, Listener, tell_refused},
    listen::{
        filter::Filter,
        process::{raise_descriptor_limit, reserve_descriptors},
        udp::{BoundUdp, ListenError},
        uds::BoundLocal,
    },
};

/// Descriptors of an observer besides those of local agents.
const OTHERS: u32 = 1024;
/// A queue shorter than this, datagrams, may turn local senders away that beat at the same instant.
const GOOD_QUEUE: u32 = 256;

impl Addresses {
    /// Those of bound listeners.
    pub(crate) fn of(listeners: &[Listener], http: Option<SocketAddr>) -> Self {
        let heard = |wanted: fn(Kind) -> bool| {
            let some = listeners.iter().filter(|listener| wanted(listener.kind));
            some.filter_map(|listener| listener.bound.address()).collect()
        };
        Self {
            sealed: heard(|kind| matches!(kind, Kind::Sealed { .. })),
            plaintext: heard(|kind| kind == Kind::Plain),
            sockets: listeners.iter().filter_map(|listener| Some(listener.bound.path()?.to_owned())).collect(),
            http,
        }
    }
}

/// Binds every listener, in the order of the configuration.
///
/// # Errors
/// [`RunError`] naming the address or path and the remedy.
pub(crate) fn bind(config: &ObserverConfig, filter: &Filter) -> Result<Vec<Listener>, RunError> {
    let mut listeners = Vec::with_capacity(config.listen.len());
    // What is none of the three was refused with the configuration.
    for (listen, at) in config.listen.iter().filter_map(|listen| Some((listen, listen.at()?))) {
        let name = at.to_string();
        let (bound, kind, filtered) = match at {
            At::Sealed(address) => {
                let (bound, filtered) = bind_sealed(address, listen, filter)?;
                tell_granted(&name, listen, &bound);
                let attested = listen.trust == Trust::OperatorAttested;
                (Bound::Udp(bound), Kind::Sealed { attested }, (listen.kernel_filter, filtered))
            }
            At::Plaintext(address) => {
                let bound = BoundUdp::bind(address, listen.receive_buffer)?;
                tell_granted(&name, listen, &bound);
                tracing::warn!(listener = name, "plaintext is heard here: whoever can send to it can forge any of it");
                (Bound::Udp(bound), Kind::Plain, (KernelFilter::Off, false))
            }
            At::Socket(path) => {
                let bound = bind_local(path, listen.mode, config.limits.processes)?;
                (Bound::Local(bound), Kind::Local, (KernelFilter::Off, false))
            }
        };
        listeners.push(Listener { bound, name, kind, filter: filtered });
    }
    Ok(listeners)
}

fn bind_local(path: &Path, mode: u32, processes: u32) -> Result<BoundLocal, RunError> {
    let bound = BoundLocal::bind(path, mode)?;
    match raise_descriptor_limit() {
        Ok(limit) => {
            tracing::debug!("each local agent takes one of {limit} descriptors");
            let highest = u64::from(processes + OTHERS).min(limit.saturating_sub(1));
            if let Err(error) = reserve_descriptors(bound.socket(), u32::try_from(highest).unwrap_or(u32::MAX)) {
                tracing::debug!("no room for descriptors was made ahead: {error}");
            }
        }
        Err(error) => {
            tracing::warn!(
                "the limit of open files stays as it is ({error}): of local agents beyond it the end is not seen"
            );
        }
    }
    if let Some(held) = BoundLocal::queue().filter(|held| *held < GOOD_QUEUE) {
        tracing::warn!(
            listener = %path.display(),
            "the kernel holds {held} datagrams for a local socket, and turns further ones away: for agents that beat at the \
             same instant set net.unix.max_dgram_qlen to 512 before this observer starts"
        );
    }
    Ok(bound)
}

fn tell_granted(name: &str, listen: &Listen, bound: &BoundUdp) {
    if bound.granted < u64::from(listen.receive_buffer) {
        tracing::warn!(
            listener = name,
            asked = listen.receive_buffer,
            granted = bound.granted,
            "the kernel granted a smaller receive buffer than asked for, so that bursts may be lost; raise \
             net.core.rmem_max, or lower receive_buffer"
        );
    }
}

/// A socket, and whether a filter is in force.
fn bind_sealed(address: SocketAddr, listen: &Listen, filter: &Filter) -> Result<(BoundUdp, bool), ListenError> {
    if listen.kernel_filter != KernelFilter::On {
        return Ok((BoundUdp::bind(address, listen.receive_buffer)?, false));
    }
    let (bound, attached) = BoundUdp::bind_filtered(address, listen.receive_buffer, filter)?;
    if let Err(error) = &attached {
        tell_refused(&address.to_string(), error);
    }
    Ok((bound, attached.is_ok()))
}
