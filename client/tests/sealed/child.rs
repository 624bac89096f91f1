//! Forked children that beat and end. Goes with `counting`.

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork},
};

use crate::counting::CALLS;

/// Runs `body` in a forked child, which ends with status 0 if it holds and if nothing was allocated.
pub(crate) fn in_child(body: impl FnOnce() -> bool) -> Pid {
    in_child_allocating(|| {
        CALLS.set(0);
        body().then(|| CALLS.get() == 0)
    })
}

/// Runs `body` in a forked child, which ends with status 0 if it is `Some(true)`.
pub(crate) fn in_child_allocating(body: impl FnOnce() -> Option<bool>) -> Pid {
    // SAFETY: the child runs `body`, which only beats, and ends without running anything of the parent's.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let status = match body() {
                Some(true) => 0,
                None => 1,
                Some(false) => 2,
            };
            // SAFETY: ends the process; no destructor or handler of the parent's runs in it.
            unsafe { nix::libc::_exit(status) }
        }
    }
}

pub(crate) fn assert_held(child: Pid) {
    assert_eq!(
        waitpid(child, None).unwrap(),
        WaitStatus::Exited(child, 0),
        "not 0: an expectation of the child failed, or it allocated"
    );
}
