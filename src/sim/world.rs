//! The world of one run: its time, its chance, the server, and the actors, which take turns on one thread. An actor is
//! whatever would be a thread or another program; wherever it waits, and at every statement, any other may go on.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use fastrand::Rng;
use generator::{Generator, Gn};

use super::{fault_schedule::FaultSchedule, server::Server};
use crate::{base::clock::virtual_clock, base::wakeup::Wakeup};

/// In machine words: 128 KiB.
const STACK: usize = 0x4000;
/// Nobody does so much in no time.
const MOST_TURNS: u64 = 10_000;
/// Who is of no daemon.
pub const NOBODY: usize = usize::MAX;

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    static BASE: Cell<Option<Instant>> = const { Cell::new(None) };
}

pub struct World {
    pub rng: Rng,
    pub now_us: u64,
    pub server: Server,
    pub faults: FaultSchedule,
    pub machines: Vec<Machine>,
    /// The machine whose actor has its turn.
    pub current: usize,
    /// That actor is being killed: it may do nothing any more.
    dying: bool,
    newborn: Vec<Actor>,
    pub steps: u64,
    /// Turns since time passed.
    turns: u64,
    /// How often the server began anew.
    pub restarts: u64,
    /// The daemons that ever were.
    pub lives: u64,
}

/// What a daemon runs on.
#[derive(Default)]
pub struct Machine {
    /// The node that its daemon is on.
    pub node: usize,
    /// How far its steady clock is ahead of the world's, in µs.
    clock_us: i64,
    /// The clock stood still for a while and so runs behind the server's.
    pub clock_stood: bool,
    frozen_until_us: u64,
    /// The daemon that runs on it now, as an owner of jobs; 0: none.
    pub life: u64,
    /// Held while it is to go on.
    pub stop: Option<Sender<()>>,
    /// The bells of a running daemon that a RING rings.
    pub bells: Vec<Wakeup>,
    /// What its outside subscriber has.
    pub subscriber_seq: u64,
}

struct Actor {
    machine: usize,
    life: u64,
    body: Generator<'static, (), Wait>,
    wait: Wait,
}

/// Until when an actor waits, and for what.
pub struct Wait {
    pub until_us: u64,
    pub ready: Option<Box<dyn Fn() -> bool>>,
}

/// The end of an actor whose process was killed.
struct Killed;

pub fn with<T>(look: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| look(world.as_mut().expect("a run is on")))
}

/// Begins a run on this thread.
pub fn begin(seed: u64, machines: usize, faults: FaultSchedule) {
    // What the daemon leaves to chance itself.
    fastrand::seed(seed);
    BASE.set(Some(Instant::now() + Duration::from_secs(3600)));
    let world = World {
        rng: Rng::with_seed(seed),
        now_us: 0,
        server: Server::new(),
        faults,
        machines: (0..machines).map(|_| Machine::default()).collect(),
        current: NOBODY,
        dying: false,
        newborn: Vec::new(),
        steps: 0,
        turns: 0,
        restarts: 0,
        lives: 0,
    };
    WORLD.set(Some(world));
    virtual_clock::set(virtual_clock::Clock { now: steady, sleep });
}

/// Ends it.
pub fn end() -> World {
    virtual_clock::set(virtual_clock::REAL);
    WORLD.take().expect("a run is on")
}

/// The steady clock of the machine whose actor has its turn.
fn steady() -> Instant {
    let us =
        with(|world| world.machines.get(world.current).map_or(0, |machine| machine.clock_us) + world.now_us as i64);
    let base = BASE.get().expect("a run is on");
    if us >= 0 { base + Duration::from_micros(us as u64) } else { base - Duration::from_micros(us.unsigned_abs()) }
}

/// World time at which that machine's clock will show `at`.
pub fn world_us(at: Instant) -> u64 {
    let now = steady();
    with(|world| world.now_us) + at.saturating_duration_since(now).as_micros() as u64
}

pub fn sleep(pause: Duration) {
    wait(with(|world| world.now_us) + pause.as_micros() as u64, None);
}

/// So many µs, more or less.
pub fn pass(us: u64) {
    let us = with(|world| world.rng.u64(0..=us * 2));
    sleep(Duration::from_micros(us));
}

/// Lets others go on until it is time or `ready`.
#[expect(deprecated, reason = "the other form would need a reference through all that is called in between")]
pub fn wait(until_us: u64, ready: Option<Box<dyn Fn() -> bool>>) {
    if !with(|world| world.dying) {
        generator::yield_with(Wait { until_us, ready });
    }
    if with(|world| world.dying) {
        resume_unwind(Box::new(Killed));
    }
}

pub fn is_dying() -> bool {
    with(|world| world.dying)
}

/// The same on another machine, or nobody's.
pub fn spawn_on(machine: usize, body: impl FnOnce() + Send + 'static) {
    let here = with(|world| std::mem::replace(&mut world.current, machine));
    spawn(body);
    with(|world| world.current = here);
}

/// A new actor on the machine whose turn it is.
pub fn spawn(body: impl FnOnce() + Send + 'static) {
    with(|world| {
        let machine = world.current;
        let life = world.machines.get(machine).map_or(0, |machine| machine.life);
        let body = Gn::new_opt(STACK, move || match catch_unwind(AssertUnwindSafe(body)) {
            Err(panic) if !panic.is::<Killed>() => resume_unwind(panic),
            _ => Wait { until_us: u64::MAX, ready: None },
        });
        let wait = Wait { until_us: world.now_us, ready: None };
        world.newborn.push(Actor { machine, life, body, wait });
    });
}

/// All that go on in a run.
#[derive(Default)]
pub struct Actors(Vec<Actor>);

impl Actors {
    /// Lets one of those who can go on have a turn; time passes if nobody can.
    pub fn take_turns(&mut self) {
        self.0.append(&mut with(|world| std::mem::take(&mut world.newborn)));
        self.bury();
        let at: Vec<u64> = with(|world| self.0.iter().map(|actor| actor.due_us(world)).collect());
        let next_us = at.iter().copied().min().expect("the applications' actor");
        let chosen = with(|world| {
            world.steps += 1;
            world.turns += 1;
            if next_us > world.now_us {
                world.turns = 0;
                world.now_us = next_us;
                world.server.now_us = next_us;
            }
            assert!(world.turns < MOST_TURNS, "somebody spins on machine {}", world.current);
            let ready: Vec<usize> = (0..at.len()).filter(|&i| at[i] <= world.now_us).collect();
            let chosen = ready[world.rng.usize(..ready.len())];
            world.current = self.0[chosen].machine;
            chosen
        });
        let actor = &mut self.0[chosen];
        actor.wait = actor.body.resume().expect("an actor waits or ends");
        if actor.body.is_done() {
            self.0.swap_remove(chosen);
        }
    }

    /// Those whose process was killed end wherever they are: nothing more is said, sockets are closed.
    fn bury(&mut self) {
        for i in (0..self.0.len()).rev() {
            let actor = &self.0[i];
            if with(|world| world.machines.get(actor.machine).is_some_and(|machine| machine.life != actor.life)) {
                self.kill(i);
            }
        }
    }

    fn kill(&mut self, i: usize) {
        let mut actor = self.0.swap_remove(i);
        with(|world| {
            world.dying = true;
            world.current = actor.machine;
        });
        actor.body.resume();
        with(|world| world.dying = false);
        assert!(actor.body.is_done(), "an actor outlived its process");
    }

    pub fn kill_all(&mut self) {
        self.0.append(&mut with(|world| std::mem::take(&mut world.newborn)));
        while !self.0.is_empty() {
            self.kill(0);
        }
    }
}

impl Actor {
    /// When it goes on, as far as is known now.
    fn due_us(&self, world: &World) -> u64 {
        let is_ready = self.wait.until_us <= world.now_us || self.wait.ready.as_ref().is_some_and(|ready| ready());
        let due_us = if is_ready { world.now_us } else { self.wait.until_us };
        due_us.max(world.machines.get(self.machine).map_or(0, |machine| machine.frozen_until_us))
    }
}

impl World {
    pub fn chance(&mut self, of: f64) -> bool {
        self.rng.f64() < of
    }

    /// kill -9: its actors end at their next turn, that is before anybody else's.
    pub fn kill(&mut self, machine: usize) {
        let machine = &mut self.machines[machine];
        machine.life = 0;
        machine.bells.clear();
        machine.stop = None;
        machine.frozen_until_us = 0;
    }

    /// SIGSTOP and SIGCONT. Where the whole machine sleeps, its steady clock stands still meanwhile.
    pub fn freeze(&mut self, machine: usize, us: u64, with_clock: bool) {
        let until = self.now_us + us;
        let machine = &mut self.machines[machine];
        if machine.life != 0 && machine.frozen_until_us <= self.now_us {
            machine.frozen_until_us = until;
            if with_clock {
                machine.clock_us -= us as i64;
                machine.clock_stood = true;
            }
        }
    }

    /// The steady clock jumps ahead.
    pub fn jump(&mut self, machine: usize, us: u64) {
        self.machines[machine].clock_us += us as i64;
    }

    /// The server ends and comes back some time: what was open on it is undone, its clients find out one by one.
    pub fn restart_server(&mut self) {
        self.restarts += 1;
        let open: Vec<_> = self.server.open.keys().copied().collect();
        open.into_iter().for_each(|tx| self.server.roll_back(tx));
    }
}
