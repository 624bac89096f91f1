//! Who is told to be down, and why nothing may be run for some.

use varta_core::{Class, Down, Obstacle, Subject};

use super::*;

impl World {
    fn watched() -> Self {
        let mut world = Self::new();
        world.core.watch_down();
        world
    }

    /// What is newly down, or no longer, by pid.
    fn down(&mut self) -> Vec<(u32, Option<Down>)> {
        std::iter::from_fn(|| self.core.poll_down(self.now)).map(|(_, Subject { pid, .. }, down)| (pid, down)).collect()
    }
}

fn silent() -> Down {
    Down { ended: false, class: Class::KernelAttested, process: 5, exit: None, obstacle: None }
}

#[test]
fn a_stall_is_told_once_and_so_is_its_end() {
    let mut world = World::watched();
    world.beat(1).unwrap();
    assert_eq!(world.down(), []);
    world.pass(2 * SECOND);
    assert_eq!(world.down(), [(PID, Some(silent()))]);
    world.pass(SECOND);
    assert_eq!(world.down(), []);
    world.core.handle_exit(world.now, PID, 5, Exit::Signal(9));
    assert_eq!(world.down(), [(PID, Some(Down { exit: Some(Exit::Signal(9)), ..silent() }))]);
    world.beat(2).unwrap();
    assert_eq!(world.down(), [(PID, None)]);
    world.beat(Frame::TERMINAL).unwrap();
    assert_eq!(world.down(), [(PID, Some(Down { ended: true, ..silent() }))]);
    world.core.handle_exit(world.now, PID, 5, Exit::Status(1));
    world.pass(HOUR);
    let told = world.down();
    assert_eq!(told.last(), Some(&(PID, None)), "forgotten: {told:?}");
    assert_eq!(world.core.silence(), (0, 0));
}

#[test]
fn what_changes_often_is_told_as_it_is() {
    let mut world = World::watched();
    for nonce in 1..200 {
        world.beat(2 * nonce).unwrap();
        world.pass(3 * SECOND);
    }
    assert_eq!(world.down(), [(PID, Some(silent()))]);
    let mut late = World::new();
    late.beat(1).unwrap();
    late.pass(2 * SECOND);
    assert_eq!(late.down(), [], "nobody asked for it");
    late.core.watch_down();
    assert_eq!(late.down(), [(PID, Some(silent()))]);
}

#[test]
fn obstacles_are_named() {
    let mut world = World::watched();
    let obstacle = |world: &mut World| world.down().last().and_then(|(_, down)| down.unwrap().obstacle);
    let sender = Sender::Local { pid: PID, process: 5, ours: false };
    accepted(world.core.handle_unsealed(world.now, LOCAL, Ok(sender), &frame(1).encode())).unwrap();
    world.pass(2 * SECOND);
    assert_eq!(obstacle(&mut world), Some(Obstacle::NamespaceUnknown));
    world.beat(2).unwrap();
    world.pass(2 * SECOND);
    assert_eq!(obstacle(&mut world), None, "it became known");
    accepted(world.core.handle_unsealed(world.now, LOCAL, Ok(sender), &frame(3).encode())).unwrap();
    world.pass(2 * SECOND);
    assert_eq!(obstacle(&mut world), None, "and stays so");
    let another = Sender::Local { pid: PID, process: 6, ours: false };
    accepted(world.core.handle_unsealed(world.now, LOCAL, Ok(another), &frame(4).encode())).unwrap();
    world.pass(2 * SECOND);
    assert_eq!(obstacle(&mut world), Some(Obstacle::NamespaceUnknown), "of another process nothing is known");

    world.beat(5).unwrap();
    let from = world.now.mono;
    world.now = Now { mono: world.now.mono.after(SECOND), wall: world.now.wall.after(SECOND) };
    world.core.handle_gap(from, world.now);
    world.pass(3 * SECOND);
    assert_eq!(obstacle(&mut world), Some(Obstacle::Blind));
    world.beat(6).unwrap();
    world.pass(2 * SECOND);
    assert_eq!(obstacle(&mut world), None);
}

#[test]
fn silence_counts_who_is_silent_and_not_who_is_known_to_have_ended() {
    let mut world = World::watched();
    let send = |world: &mut World, pid: u32| {
        let sender = Sender::Local { pid, process: 1, ours: true };
        accepted(world.core.handle_unsealed(world.now, LOCAL, Ok(sender), &frame_of(pid, 1).encode())).unwrap();
    };
    for pid in 10..13 {
        send(&mut world, pid);
    }
    assert_eq!(world.core.silence(), (0, 3));
    world.core.handle_exit(world.now, 10, 1, Exit::Unknown);
    assert_eq!(world.core.silence(), (0, 2));
    world.pass(2 * SECOND);
    assert_eq!(world.core.silence(), (2, 2));
    world.core.handle_exit(world.now, 11, 1, Exit::Unknown);
    assert_eq!(world.core.silence(), (1, 1));
    send(&mut world, 10);
    assert_eq!(world.core.silence(), (1, 2));
    world.pass(HOUR);
    assert_eq!(world.core.silence(), (2, 2));
    world.conserves();
}
