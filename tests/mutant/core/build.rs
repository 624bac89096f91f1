//! Copies the core's sources and puts the switches in.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "cargo tells a build script by the environment")]

include!("../copy.rs");

const SWITCHES: &[Switch] = &[
    Switch {
        file: "judge.rs",
        text: "if c.sent_at() <= self.barrier.max(agent_barrier) {",
        with: "let fleet = if crate::switch::off(\"barrier\") { WallNs(0) } else { self.barrier };
        let own = if crate::switch::off(\"agent barrier\") { WallNs(0) } else { agent_barrier };
        if c.sent_at() <= fleet.max(own) {",
    },
    Switch {
        file: "accept.rs",
        text: "if candidate.sent_at() > self.horizon {",
        with: "if candidate.sent_at() > self.horizon && !crate::switch::off(\"horizon\") {",
    },
    Switch {
        file: "judge.rs",
        text: "if header.session_start > slot.session {",
        with: "let before = header.session_start < slot.session && crate::switch::off(\"session order\");
        if header.session_start > slot.session || before {",
    },
    Switch {
        file: "judge.rs",
        text: "let relearned = if held_back > max_delay.cast_signed() {",
        with: "let relearned = if held_back > max_delay.cast_signed() && !crate::switch::off(\"delay bound\") {",
    },
    Switch {
        file: "limits.rs",
        text: "pub(crate) const fn leaked(elapsed: u64) -> u64 {\n    elapsed / LEAK\n}",
        with: "pub(crate) fn leaked(elapsed: u64) -> u64 {
    if crate::switch::off(\"offset leak\") { 0 } else { elapsed / LEAK }
}",
    },
    Switch {
        file: "judge.rs",
        text: "let rank = rank(slot.phase).filter(|_| self.is_idle(now, slot))?;",
        with: "let rank = rank(slot.phase).filter(|_| self.is_idle(now, slot));
                let rank = rank.or(crate::switch::off(\"eviction rule\").then_some(4))?;",
    },
    Switch {
        file: "slot.rs",
        text: "&& !body.flags.has(Flags::STEPPED)",
        with: "&& (crate::switch::off(\"STEPPED\") || !body.flags.has(Flags::STEPPED))",
    },
    Switch {
        file: "accept.rs",
        text: "if due <= general {",
        with: "if due <= general || crate::switch::off(\"promise ceiling\") {",
    },
    Switch {
        file: "judge.rs",
        text: "if c.sent_at() > now.wall.after(self.settings.skew) {",
        with: "if c.sent_at() > now.wall.after(self.settings.skew) && !crate::switch::off(\"freshness\") {",
    },
    Switch {
        file: "judge.rs",
        text: "if c.sent_at().after(self.settings.skew + max_delay) < now.wall {",
        with: "if c.sent_at().after(self.settings.skew + max_delay) < now.wall && !crate::switch::off(\"freshness\") {",
    },
    Switch {
        file: "judge.rs",
        text: "Place::NewestAgain | Place::Replayed => Err(Reject::Replayed),",
        with: "Place::NewestAgain | Place::Replayed if !crate::switch::off(\"replay window\") => Err(Reject::Replayed),",
    },
    Switch {
        file: "accept.rs",
        text: "if header.generation >= self.table.floor(agent) {",
        with: "if header.generation >= self.table.floor(agent) || crate::switch::off(\"generation\") {",
    },
    Switch {
        file: "detector.rs",
        text: "self.mapped_send_time(number).after(self.span_of(number, slot.next_due()))",
        with: "let more = if crate::switch::off(\"death\") { 1000 * MILLI } else { 0 };
        self.mapped_send_time(number).after(self.span_of(number, slot.next_due())).after(more)",
    },
    Switch {
        file: "blind.rs",
        text: "self.gaps.iter().map(|(from, to)| to.since(*from.max(&sent))).sum()",
        with: "let none = crate::switch::off(\"blindness\");
        if none { 0 } else { self.gaps.iter().map(|(from, to)| to.since(*from.max(&sent))).sum() }",
    },
];

fn main() {
    let out = std::env::var_os("OUT_DIR").unwrap();
    let (from, to) = (Path::new("../../../observer/core/src"), Path::new(&out));
    copy(from, &to.join("core"), SWITCHES);
    // What is included has no attributes of a crate's own.
    let root = fs::read_to_string(to.join("core/lib.rs")).unwrap();
    let inner = |line: &&str| !line.starts_with("//!") && !line.starts_with("#![");
    let root: Vec<&str> = root.lines().filter(inner).collect();
    fs::write(to.join("core/lib.rs"), root.join("\n")).unwrap();
}
