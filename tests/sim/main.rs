//! The simulation: the real fleet, pickers and queues in a small world with its own time and a seeded chance.
//!
//! Servers flap and slow down, probes are lost, names move, operators give orders, clients come, wait and leave, workers
//! hold old pictures for a while, and now and then the process dies and comes back with its state file. After every step
//! the invariants are checked: those of the fleet, those of `audit`, and the promises of `oracle`.
//!
//! `SIM_SEED=17 cargo test --test sim` replays one run; `SIM_SEEDS=5000` makes more than the usual 200.

mod audit;
mod map;
mod oracle;
mod orders;
mod traffic;
mod world;

use world::World;

/// Runs in a normal test run.
const SEEDS: u64 = 200;
/// Things that happen in one run before the world comes to rest.
const STEPS: usize = 700;

/// Says which seed a failure belongs to.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation failed; replay it with SIM_SEED={} cargo test --test sim", self.0);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

#[test]
fn the_world_keeps_its_promises() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut tally = world::Tally::default();
    let runs = seeds.end - seeds.start;
    for seed in seeds {
        let guard = Seed(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.come_to_rest();
        tally.add(&world.tally);
        drop(guard);
    }
    println!("{runs} runs: {tally:?}");
    if runs >= SEEDS {
        tally.check_coverage(runs);
    }
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    let story = || {
        let mut world = World::new(4711);
        for _ in 0..STEPS {
            world.step();
        }
        world.come_to_rest();
        (world.tally, world.diary)
    };
    assert_eq!(story(), story());
}
