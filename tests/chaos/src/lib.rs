//! Replicas of an application that are killed, paused, restarted and cut off from their database, and a journal that knows better.
//!
//! Each scenario sends deliveries over HTTP to replicas that are processes of their own, with the library mounted as an application
//! mounts it, and disturbs them meanwhile. The client keeps a journal of deliveries and responses. In the
//! end everything is read back and held against it: nothing that was acknowledged may be lost, nothing doubled, nothing there that was
//! never sent, nothing judged wrongly, nothing left undone.

pub mod check;

pub mod deliveries;

pub mod fleet;

pub mod half;

pub mod journal;

pub mod load;

pub mod place;

pub mod replica;

pub mod scenario;

pub mod serving;
