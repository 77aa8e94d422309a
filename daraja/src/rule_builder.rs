//! Rules as a test writes them.

use crate::script::{Fault, Rule, RuleError};
use crate::world::World;

/// What happens to the requests of a rule, from [`Daraja::on`](crate::Daraja::on).
#[derive(Debug)]
pub struct RuleBuilder<'d> {
    world: &'d World,
    number: usize,
}

#[allow(clippy::return_self_not_must_use, reason = "the rule is in force already")]
impl<'d> RuleBuilder<'d> {
    pub(crate) fn new(world: &'d World, number: usize) -> RuleBuilder<'d> {
        RuleBuilder { world, number }
    }

    /// The request succeeds. This is the default, except for the phone numbers `2547000xxxxx`.
    pub fn pays(self) -> Self {
        self.fails("0")
    }

    /// The request is accepted and ends with this result code: `"1032"` is a cancelled push.
    pub fn fails(self, code: &str) -> Self {
        self.change(|rule| rule.ends = Some(code.to_owned()))
    }

    /// The request is refused with this error code: `"500.003.02"` is a spike arrest.
    pub fn refused(self, code: &str) -> Self {
        self.change(|rule| rule.refused = Some(code.to_owned()))
    }

    /// Something goes wrong with the request or its callbacks. Call it again for a second fault.
    ///
    /// # Panics
    /// If the product cannot have the fault, or faults exclude each other; the message says which.
    #[allow(clippy::panic, reason = "a rule that makes no sense is a mistake in the test")]
    pub fn fault(self, fault: Fault) -> Self {
        self.change(|rule| {
            if let Err(error) = rule.add(fault) {
                panic!("{error}");
            }
        })
    }

    /// As [`fault`](RuleBuilder::fault), for faults that a user chose.
    ///
    /// # Errors
    /// [`RuleError`]: the product cannot have the fault, or faults exclude each other.
    pub fn try_fault(self, fault: Fault) -> Result<Self, RuleError> {
        let mut added = Ok(());
        let builder = self.change(|rule| added = rule.add(fault));
        added.map(|()| builder)
    }

    /// The rule is for one request only.
    pub fn once(self) -> Self {
        self.change(|rule| rule.once = true)
    }

    fn change(self, change: impl FnOnce(&mut Rule)) -> Self {
        if let Some(rule) = self.world.state().rules.get_mut(self.number) {
            change(rule);
        }
        self
    }
}
