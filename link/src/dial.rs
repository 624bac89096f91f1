//! The observer's side.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use quinn::{ClientConfig, Endpoint};
use tokio::time::timeout;
use varta_vlp::key::PublicKey;

use crate::{Identity, Limits, Link, LinkError, stream::End, tls};

/// No name is asked for: the relay is known by its key.
const NO_NAME: &str = "relay";

/// Dials the relay of key `pin` at `remote`, on the runtime of the caller. Both sides' keys are verified when this ends, but
/// that the relay takes this observer is certain only when it has said so on the stream.
///
/// # Errors
/// [`LinkError`].
pub async fn dial(remote: SocketAddr, identity: &Identity, pin: PublicKey, limits: Limits) -> Result<Link, LinkError> {
    let local = match remote {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let endpoint = Endpoint::client(local).map_err(|error| LinkError::Socket { address: local, error })?;
    let mut config = ClientConfig::new(Arc::new(tls::client(identity, pin)));
    config.transport_config(Arc::new(limits.dialling()));
    let connecting = endpoint.connect_with(config, remote, NO_NAME);
    let connecting = connecting.map_err(|error| LinkError::Dial { remote, error })?;
    let handshake = async {
        let connection = connecting.await.map_err(|error| LinkError::of(remote, error, true))?;
        let end = End::new(connection.clone(), true);
        let (sender, receiver) = connection.open_bi().await.map_err(|error| LinkError::of(remote, error, true))?;
        Ok(Link::new(&end, sender, receiver))
    };
    timeout(limits.handshake, handshake).await.unwrap_or(Err(LinkError::TimedOut(remote)))
}
