//! One run: its virtual time, its random numbers, the server, and the actors, which take turns on one thread. An actor
//! stands for a thread or another program. Wherever it waits, and at every statement, any other actor may continue.

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

/// An actor's stack in machine words: 128 KiB.
const STACK: usize = 0x4000;
/// No correct actor takes more turns without time passing.
const MAX_TURNS: u64 = 10_000;
/// The machine of an actor that belongs to no daemon.
pub const NO_MACHINE: usize = usize::MAX;

thread_local! {
    static SIMULATION: RefCell<Option<Simulation>> = const { RefCell::new(None) };
    static BASE: Cell<Option<Instant>> = const { Cell::new(None) };
}

pub struct Simulation {
    pub rng: Rng,
    pub now_us: u64,
    pub server: Server,
    pub faults: FaultSchedule,
    pub machines: Vec<Machine>,
    /// The machine of the actor whose turn it is.
    pub current: usize,
    /// That actor is being killed: it must do nothing more.
    dying: bool,
    spawned: Vec<Actor>,
    pub steps: u64,
    /// Turns since virtual time last advanced.
    turns: u64,
    /// How often the server was restarted.
    pub restarts: u64,
    /// How many daemons were started.
    pub daemons_started: u64,
}

/// What a daemon runs on.
#[derive(Debug, Default)]
pub struct Machine {
    /// The node of the cluster that its daemon uses.
    pub node: usize,
    /// How far its steady clock is ahead of virtual time, in µs, apart from its drift.
    clock_us: i64,
    /// How much faster it runs than the server's clock, in millionths.
    drift_ppm: i64,
    /// How often its clock was stopped for a while.
    pub clock_stops: u64,
    /// The same when its daemon's last successful renewal of the lease began: after more stops, the lease seems valid for
    /// longer than it is.
    pub renewed_after_stops: u64,
    frozen_until_us: u64,
    /// The daemon that runs on it, as an owner of jobs; 0: none.
    pub daemon_id: u64,
    /// Dropped to stop the daemon.
    pub stop: Option<Sender<()>>,
    /// What a RING frame notifies in the running daemon.
    pub wakeups: Vec<Wakeup>,
    /// The last event that its subscriber has received.
    pub subscriber_seq: u64,
}

impl Machine {
    /// One whose clock drifts by this many millionths.
    pub fn with_drift(drift_ppm: i64) -> Machine {
        Machine { drift_ppm, ..Machine::default() }
    }
}

struct Actor {
    machine: usize,
    daemon_id: u64,
    body: Generator<'static, (), Wait>,
    wait: Wait,
}

/// What an actor waits for: a time, or a condition before it.
pub struct Wait {
    pub until_us: u64,
    pub ready: Option<Box<dyn Fn() -> bool>>,
}

/// The panic that ends an actor whose process was killed.
struct Killed;

/// Calls `run` with the run of this thread.
pub fn with<T>(run: impl FnOnce(&mut Simulation) -> T) -> T {
    SIMULATION.with_borrow_mut(|sim| run(sim.as_mut().expect("a run has begun")))
}

/// Begins a run on this thread.
pub fn begin(seed: u64, machines: Vec<Machine>, faults: FaultSchedule) {
    // For the daemon's own random numbers.
    fastrand::seed(seed);
    BASE.set(Some(Instant::now() + Duration::from_secs(3600)));
    let sim = Simulation {
        rng: Rng::with_seed(seed),
        now_us: 0,
        server: Server::new(),
        faults,
        machines,
        current: NO_MACHINE,
        dying: false,
        spawned: Vec::new(),
        steps: 0,
        turns: 0,
        restarts: 0,
        daemons_started: 0,
    };
    SIMULATION.set(Some(sim));
    virtual_clock::set(virtual_clock::Clock { now: steady, sleep });
}

/// Ends it.
pub fn end() -> Simulation {
    virtual_clock::set(virtual_clock::REAL);
    SIMULATION.take().expect("a run has begun")
}

/// The steady clock of the machine whose actor has its turn.
fn steady() -> Instant {
    let us = with(|sim| {
        let (clock_us, drift_ppm) = sim.machines.get(sim.current).map_or((0, 0), |it| (it.clock_us, it.drift_ppm));
        let now_us = sim.now_us as i64;
        now_us + now_us * drift_ppm / 1_000_000 + clock_us
    });
    let base = BASE.get().expect("a run has begun");
    if us >= 0 { base + Duration::from_micros(us as u64) } else { base - Duration::from_micros(us.unsigned_abs()) }
}

/// The virtual time in µs at which the current machine's clock will show `at`.
pub fn world_us(at: Instant) -> u64 {
    let wait_us = at.saturating_duration_since(steady()).as_nanos().div_ceil(1_000) as u64;
    with(|sim| {
        let drift_ppm = sim.machines.get(sim.current).map_or(0, |machine| machine.drift_ppm);
        let us = (wait_us * 1_000_000).div_ceil((1_000_000 + drift_ppm).unsigned_abs());
        // Never before the clock shows it: the drift so far is rounded.
        sim.now_us + us + u64::from(us > 0 && drift_ppm != 0)
    })
}

pub fn sleep(pause: Duration) {
    wait(with(|sim| sim.now_us) + pause.as_micros() as u64, None);
}

/// Sleeps for `us` µs on average, and for twice that at most.
pub fn sleep_about(us: u64) {
    let us = with(|sim| sim.rng.u64(0..=us * 2));
    sleep(Duration::from_micros(us));
}

/// Lets other actors continue until `until_us`, or until `ready`.
#[expect(deprecated, reason = "the other form would need a reference through all that is called in between")]
pub fn wait(until_us: u64, ready: Option<Box<dyn Fn() -> bool>>) {
    if !with(|sim| sim.dying) {
        generator::yield_with(Wait { until_us, ready });
    }
    if with(|sim| sim.dying) {
        resume_unwind(Box::new(Killed));
    }
}

pub fn is_dying() -> bool {
    with(|sim| sim.dying)
}

/// Starts an actor on another machine, or on none.
pub fn spawn_on(machine: usize, body: impl FnOnce() + Send + 'static) {
    let here = with(|sim| std::mem::replace(&mut sim.current, machine));
    spawn(body);
    with(|sim| sim.current = here);
}

/// Starts an actor on the current machine.
pub fn spawn(body: impl FnOnce() + Send + 'static) {
    with(|sim| {
        let machine = sim.current;
        let daemon_id = sim.machines.get(machine).map_or(0, |machine| machine.daemon_id);
        let body = Gn::new_opt(STACK, move || match catch_unwind(AssertUnwindSafe(body)) {
            Err(panic) if !panic.is::<Killed>() => resume_unwind(panic),
            _ => Wait { until_us: u64::MAX, ready: None },
        });
        let wait = Wait { until_us: sim.now_us, ready: None };
        sim.spawned.push(Actor { machine, daemon_id, body, wait });
    });
}

/// Every actor of a run.
#[derive(Default)]
pub struct Actors(Vec<Actor>);

impl Actors {
    /// Gives a turn to a random actor that can continue. If none can, time advances to when the first one can.
    pub fn run_one_turn(&mut self) {
        self.0.append(&mut with(|sim| std::mem::take(&mut sim.spawned)));
        self.reap();
        let at: Vec<u64> = with(|sim| self.0.iter().map(|actor| actor.due_us(sim)).collect());
        let next_us = at.iter().copied().min().expect("at least one actor");
        let chosen = with(|sim| {
            sim.steps += 1;
            sim.turns += 1;
            if next_us > sim.now_us {
                sim.turns = 0;
                sim.now_us = next_us;
                sim.server.now_us = next_us;
            }
            assert!(sim.turns < MAX_TURNS, "an actor spins on machine {}", sim.current);
            let ready: Vec<usize> = (0..at.len()).filter(|&i| at[i] <= sim.now_us).collect();
            let chosen = ready[sim.rng.usize(..ready.len())];
            sim.current = self.0[chosen].machine;
            chosen
        });
        let actor = &mut self.0[chosen];
        actor.wait = actor.body.resume().expect("an actor waits or ends");
        if actor.body.is_done() {
            self.0.swap_remove(chosen);
        }
    }

    /// Ends the actors of killed processes wherever they are: they do nothing more, and their connections are closed.
    fn reap(&mut self) {
        for i in (0..self.0.len()).rev() {
            let actor = &self.0[i];
            if with(|sim| sim.machines.get(actor.machine).is_some_and(|machine| machine.daemon_id != actor.daemon_id)) {
                self.kill(i);
            }
        }
    }

    fn kill(&mut self, i: usize) {
        let mut actor = self.0.swap_remove(i);
        with(|sim| {
            sim.dying = true;
            sim.current = actor.machine;
        });
        actor.body.resume();
        with(|sim| sim.dying = false);
        assert!(actor.body.is_done(), "an actor outlived its process");
    }

    pub fn kill_all(&mut self) {
        self.0.append(&mut with(|sim| std::mem::take(&mut sim.spawned)));
        while !self.0.is_empty() {
            self.kill(0);
        }
    }
}

impl Actor {
    /// When it continues, as far as is known now.
    fn due_us(&self, sim: &Simulation) -> u64 {
        let is_ready = self.wait.until_us <= sim.now_us || self.wait.ready.as_ref().is_some_and(|ready| ready());
        let due_us = if is_ready { sim.now_us } else { self.wait.until_us };
        due_us.max(sim.machines.get(self.machine).map_or(0, |machine| machine.frozen_until_us))
    }
}

impl Simulation {
    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.rng.f64() < probability
    }

    /// `kill -9`: its actors end before any other actor's next turn.
    pub fn kill(&mut self, machine: usize) {
        let machine = &mut self.machines[machine];
        machine.daemon_id = 0;
        machine.wakeups.clear();
        machine.stop = None;
        machine.frozen_until_us = 0;
    }

    /// SIGSTOP and SIGCONT. If the whole machine is suspended, its steady clock stops meanwhile.
    pub fn freeze(&mut self, machine: usize, us: u64, with_clock: bool) {
        let until = self.now_us + us;
        let machine = &mut self.machines[machine];
        if machine.daemon_id != 0 && machine.frozen_until_us <= self.now_us {
            machine.frozen_until_us = until;
            if with_clock {
                machine.clock_us -= us as i64;
                machine.clock_stops += 1;
            }
        }
    }

    /// The steady clock jumps ahead.
    pub fn jump(&mut self, machine: usize, us: u64) {
        self.machines[machine].clock_us += us as i64;
    }

    /// Restarts the server: open transactions are rolled back, and each client notices at its next statement.
    pub fn restart_server(&mut self) {
        self.restarts += 1;
        let open: Vec<_> = self.server.open.keys().copied().collect();
        open.into_iter().for_each(|tx| self.server.roll_back(tx));
    }
}
