//! `#[lock]` and `lock!`: what they do at run time.

#[path = "macros/asynchronous.rs"]
mod asynchronous;
#[path = "macros/blocks.rs"]
mod blocks;
#[path = "macros/body.rs"]
mod body;
#[path = "macros/cost.rs"]
mod cost;
#[path = "macros/early.rs"]
mod early;
#[path = "macros/futures.rs"]
mod futures;
#[path = "macros/loss.rs"]
mod loss;
#[path = "macros/once_per.rs"]
mod once_per;
#[path = "macros/options.rs"]
mod options;
#[path = "macros/parameters.rs"]
mod parameters;
#[path = "macros/peers/mod.rs"]
mod peers;
#[path = "macros/polling.rs"]
mod polling;
#[path = "macros/returned_futures.rs"]
mod returned_futures;
#[path = "macros/shapes.rs"]
mod shapes;
#[path = "macros/templates.rs"]
mod templates;
