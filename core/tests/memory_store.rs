//! The memory store keeps the contract.

use mpesa_callbacks_core::store::MemoryStore;

mpesa_callbacks_conformance::store_tests!(MemoryStore::new());
