//! A server that forks its workers beforehand: `cargo run --example prefork -- agent.key`.
//!
//! The handle is made once, by the parent. Each child goes on with its copy: the first beat notices that this is another
//! process, takes a socket and a session of its own, and no nonce is ever used twice. A child names its own unit.
#![expect(clippy::print_stdout, reason = "an example says what it does")]
#![expect(unsafe_code, reason = "forking is unsafe: the child may only do what needs no other thread")]

use std::{thread, time::Duration};

use nix::{
    sys::wait::waitpid,
    unistd::{ForkResult, fork},
};
use varta_client::{Status, Varta};

const WORKERS: u32 = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = std::env::args_os().nth(1).ok_or("name an agent's key file")?;
    let mut varta = Varta::builder().key_file(key).unit("parent").every(Duration::from_secs(1)).connect()?;
    println!("parent: {}", varta.beat(Status::Ok, 0));
    let mut children = Vec::new();
    for number in 0..WORKERS {
        // SAFETY: this process has no other thread that could hold a lock (the key's addresses are no names).
        match unsafe { fork() }? {
            ForkResult::Parent { child } => children.push(child),
            ForkResult::Child => return worker(&mut varta, number),
        }
    }
    for child in children {
        waitpid(child, None)?;
    }
    println!("parent: {}", varta.finish(Status::Ok, 0));
    Ok(())
}

fn worker(varta: &mut Varta<varta_client::SealedTransport>, number: u32) -> Result<(), Box<dyn std::error::Error>> {
    varta.name_unit(&format!("worker-{number}"))?;
    for request in 0..3 {
        let _ = varta.beat(Status::Ok, request);
        thread::park_timeout(Duration::from_millis(20));
    }
    println!("worker {number}: {}", varta.finish(Status::Ok, 0));
    Ok(())
}
