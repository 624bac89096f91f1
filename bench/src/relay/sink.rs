//! Ends for the `link` figure, each a process of its own on the first core: one reads a bare QUIC stream to its end, the
//! other is the relay's side of the link, without a fleet: it reads messages, looks at every item, and acknowledges.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use quinn::{
    ClientConfig, Endpoint, ServerConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::AlwaysResolvesServerRawPublicKeys,
    sign::CertifiedKey,
    version::TLS13,
};
use serde::{Deserialize, Serialize};
use varta_link::{Allowed, Arrived, Identity, Limits, Listener};
use varta_vlp::{
    key::{IdentitySecret, Name, Peer, PublicKey},
    report::{FromObserver, FromRelay, Welcome},
};

use crate::{machine::Cores, process::Process, receiver::spawn_on};

/// One end.
#[derive(Args)]
pub(crate) struct SinkArgs {
    /// What comes in.
    #[arg(long, value_enum)]
    kind: Kind,
    /// The one observer's public key.
    #[arg(long)]
    observer: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A stream of QUIC.
    Bare,
    /// A link, of whose messages none is looked into.
    Framed,
    /// A link, of whose messages every item is read.
    Link,
}

/// What an end says first.
#[derive(Serialize, Deserialize)]
struct Listening {
    address: SocketAddr,
    /// The relay's key, of a link.
    pin: String,
}

/// An end at work.
pub(crate) struct Sink {
    process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) pin: Option<PublicKey>,
}

impl Sink {
    pub(crate) fn start(cores: Cores, kind: Kind, observer: PublicKey) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let kind_text = kind.to_possible_value().context("every kind can be asked for")?;
        let observer = observer.to_text(Peer::Observer);
        command.args(["sink", "--kind", kind_text.get_name(), "--observer", observer.as_str()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = spawn_on(cores, &mut command)?;
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().context("it was piped")?).read_line(&mut line)?;
        let said: Listening = serde_json::from_str(&line).with_context(|| format!("an end said {line:?}"))?;
        let pin = PublicKey::from_text(Peer::Relay, &said.pin).ok();
        Ok(Self { process, address: said.address, pin })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

/// The cryptography that the link has, too.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![ring::kx_group::X25519], ..ring::default_provider() })
}

/// Takes whoever is there: what is measured comes after the handshake.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        rustls::crypto::verify_tls13_signature_with_raw_key(
            message,
            &key,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// RFC 8410, section 7: an Ed25519 private key of 32 bytes follows.
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

fn bare_server() -> anyhow::Result<Endpoint> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let pkcs8 = [PKCS8.as_slice(), &seed].concat();
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))?;
    let public = key.public_key().context("an Ed25519 key has a public one")?;
    let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(public.to_vec())], key));
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    tls.alpn_protocols = vec![b"bare".to_vec()];
    tls.send_tls13_tickets = 0;
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    Ok(Endpoint::server(config, SocketAddr::from(([127, 0, 0, 1], 0)))?)
}

/// One who sends on a bare stream.
pub(crate) fn bare_client() -> anyhow::Result<(Endpoint, ClientConfig)> {
    let verifier = Arc::new(Anybody(provider()));
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"bare".to_vec()];
    tls.resumption = Resumption::disabled();
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    Ok((Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?, config))
}

/// Reads each stream to its end, and then says one byte.
async fn bare(endpoint: Endpoint) -> anyhow::Result<()> {
    while let Some(incoming) = endpoint.accept().await {
        let connection = incoming.await?;
        let (mut answer, mut stream) = connection.accept_bi().await?;
        while stream.read_chunk(usize::MAX, true).await?.is_some() {}
        answer.write_all(&[1]).await?;
        answer.finish()?;
        connection.closed().await;
    }
    Ok(())
}

/// The relay's side of one link, until it ends.
async fn serve(arrived: Arrived, kind: Kind) -> anyhow::Result<()> {
    let (mut sender, mut receiver, _closer) = arrived.link.split();
    let mut room = [0; 256];
    let hello = receiver.receive().await?.context("no hello")?;
    if !matches!(FromObserver::parse(hello), Ok(FromObserver::Hello(_))) {
        bail!("the first message is no hello");
    }
    let relay = Name::new("relay")?;
    let len =
        FromRelay::Welcome(Welcome { relay, held: 0 }).write(&mut room).map_err(|error| anyhow::anyhow!("{error}"))?;
    sender.send(&room[..len]).await?;
    while let Some(message) = receiver.receive().await? {
        let seq = match FromObserver::parse(message) {
            Ok(FromObserver::Snapshot { seq } | FromObserver::End { seq }) => seq,
            Ok(FromObserver::Items { seq, items }) => {
                if kind == Kind::Link && items.iter().any(|item| std::hint::black_box(item).is_err()) {
                    bail!("an item is malformed");
                }
                seq
            }
            other => bail!("{other:?}"),
        };
        let len = FromRelay::Ack { seq }.write(&mut room).map_err(|error| anyhow::anyhow!("{error}"))?;
        sender.send(&room[..len]).await?;
        // As a session of the relay does it.
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn say(listening: &Listening) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(listening)?)?;
    Ok(out.flush()?)
}

pub(crate) fn run(args: &SinkArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match args.kind {
            Kind::Bare => {
                let endpoint = bare_server()?;
                say(&Listening { address: endpoint.local_addr()?, pin: String::new() })?;
                bare(endpoint).await
            }
            Kind::Framed | Kind::Link => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed)?;
                let identity = Identity::new(&IdentitySecret::from_bytes(seed));
                let observer = PublicKey::from_text(Peer::Observer, &args.observer);
                let observer = observer.map_err(|error| anyhow::anyhow!("--observer: {error}"))?;
                let allowed = Allowed::default();
                allowed.set([(observer, "observer-000".to_owned())]);
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                let mut listener = Listener::bind(any, &identity, allowed, Limits::default())?;
                let pin = identity.public().to_text(Peer::Relay).to_string();
                say(&Listening { address: listener.local_addr()?, pin })?;
                while let Some(arrived) = listener.accept().await {
                    // One that ends is one window.
                    let _ = serve(arrived, args.kind).await;
                }
                Ok(())
            }
        }
    })
}
