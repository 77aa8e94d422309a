//! The output of a writer, line by line, in a pipe that survives power cuts.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};

/// The output of one writer until it was killed.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The numbers that it found; `None` if it was killed before it had looked.
    pub there: Option<HashSet<u64>>,
    /// The numbers that it reported as durable.
    pub acknowledged: HashSet<u64>,
    /// The numbers that it was about to remove.
    pub going: HashSet<u64>,
    /// The errors that it reported.
    pub trouble: Option<String>,
}

impl Said {
    /// Reads a writer's lines to their end.
    ///
    /// # Panics
    /// When one is none of its own.
    pub fn read(lines: impl Read) -> Said {
        let (mut said, mut there) = (Said::default(), HashSet::new());
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let number = || rest.parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
            match word {
                "there" => drop(there.insert(number())),
                "looked" => said.there = Some(std::mem::take(&mut there)),
                "acknowledged" => drop(said.acknowledged.insert(number())),
                "going" => drop(said.going.insert(number())),
                "trouble" => said.trouble = Some(rest.to_owned()),
                _ => panic!("{line}"),
            }
        }
        said
    }
}

/// The numbers that must be stored after the output so far.
#[derive(Clone, Debug, Default)]
pub struct Owed(HashSet<u64>);

impl Owed {
    /// Holds what a writer found against what it must have found, and adds what it was told since. Returns how many were lost.
    pub fn settle(&mut self, said: Said) -> usize {
        let Some(there) = said.there else { return 0 };
        let lost = self.0.difference(&there).count();
        // A number that was not acknowledged may be there; from now on it must be.
        self.0 = there;
        self.0.extend(said.acknowledged);
        self.0.retain(|number| !said.going.contains(number));
        lost
    }
}
