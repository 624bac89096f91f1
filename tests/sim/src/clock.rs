//! The two clocks of a host: how they run, are stepped, slewed and frozen.

use varta_core::{MonoNs, Now, WallNs};

/// World time 0 by a right realtime clock, nanoseconds since the Unix epoch.
pub const EPOCH: u64 = 1_767_225_600 * varta_core::SECOND;

/// Realtime and boottime of one host, as functions of world time.
#[derive(Clone, Debug)]
pub struct HostClock {
    /// World time up to which both were worked out.
    at: u64,
    boot: u64,
    real: u64,
    /// How much too fast the host's oscillator runs, parts in a million.
    pub ppm: i64,
    /// How fast realtime is slewed against boottime, parts in a million.
    pub slew: i64,
    frozen: bool,
    /// Names the boot.
    pub boot_id: u64,
}

const fn run(ns: u64, ppm: i64) -> u64 {
    ns.saturating_add_signed((ns as i128 * ppm as i128 / 1_000_000) as i64)
}

impl HostClock {
    /// A host that was booted `uptime` before world time 0, with a realtime clock `ahead` of the right time.
    #[must_use]
    pub const fn new(uptime: u64, ahead: i64, boot_id: u64) -> Self {
        Self { at: 0, boot: uptime, real: EPOCH.saturating_add_signed(ahead), ppm: 0, slew: 0, frozen: false, boot_id }
    }

    /// Lets both clocks run up to world time `t`.
    pub const fn advance(&mut self, t: u64) {
        let elapsed = t.saturating_sub(self.at);
        self.at = t;
        if !self.frozen {
            self.boot += run(elapsed, self.ppm);
            self.real += run(elapsed, self.ppm + self.slew);
        }
    }

    /// Boottime at `t`.
    pub const fn boottime(&mut self, t: u64) -> u64 {
        self.advance(t);
        self.boot
    }

    /// Realtime at `t`.
    pub const fn realtime(&mut self, t: u64) -> u64 {
        self.advance(t);
        self.real
    }

    /// Both, as an observer reads them.
    pub const fn now(&mut self, t: u64) -> Now {
        self.advance(t);
        Now { mono: MonoNs(self.boot), wall: WallNs(self.real) }
    }

    /// How far realtime is ahead of the right time.
    pub const fn error(&mut self, t: u64) -> i64 {
        self.realtime(t).cast_signed() - (EPOCH + t).cast_signed()
    }

    /// Sets realtime forward, or back.
    pub const fn step(&mut self, t: u64, by: i64) {
        self.advance(t);
        self.real = self.real.saturating_add_signed(by);
    }

    /// Sets realtime right.
    pub const fn set_right(&mut self, t: u64) {
        self.advance(t);
        self.real = EPOCH + t;
    }

    /// Changes the rates.
    pub const fn set_rates(&mut self, t: u64, ppm: i64, slew: i64) {
        self.advance(t);
        self.ppm = ppm;
        self.slew = slew;
    }

    /// Stops both clocks, as a virtual machine's when it is paused, or lets them go on from where they stopped.
    pub const fn freeze(&mut self, t: u64, frozen: bool) {
        self.advance(t);
        self.frozen = frozen;
    }

    /// The host was booted anew: boottime begins again.
    pub const fn reboot(&mut self, t: u64, uptime: u64, boot_id: u64) {
        self.advance(t);
        self.boot = uptime;
        self.boot_id = boot_id;
    }
}
