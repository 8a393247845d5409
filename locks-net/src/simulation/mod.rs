//! A server and its clients in one thread, in simulated time, with all that may happen to them.
//!
//! Both ends are the real ones, which do no I/O; what lies between them and the disk is played
//! here. One seed is one run, which is told to the [history](crate::history) as it goes and checked
//! at its end. `LOCKS_SIMULATION_SEEDS=5000` runs so many, `LOCKS_SIMULATION_SEED=17` that one
//! alone.

mod bug;
mod bugs;
mod client;
mod clock;
mod disk;
mod faults;
mod load;
mod network;
mod outages;
mod plan;
mod random;
mod runs;
mod server;
mod task;
mod world;

pub(crate) use self::bug::Bug;
