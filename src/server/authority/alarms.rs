//! What an operator must look into, though the authority serves.

use super::Authority;
use tenure_files::key_files::WriteHealth;

impl Authority {
    /// The alarms in words; empty if all is well.
    pub fn alarms(&self) -> Vec<String> {
        let dead = [self.feed.alarm(), self.health.jobs().alarm()].into_iter().flatten().map(str::to_owned);
        let keys = self.key_writes().into_iter().filter_map(WriteHealth::alarm);
        keys.chain(dead)
            .chain(self.disk_room.alarm())
            .chain(self.storage.alarms())
            .chain(self.log.damage())
            .chain(self.clock_behind().map(|behind| {
                format!(
                    "the wall clock is {behind} s behind the last recorded moment: the authority's time stands still \
                     until it has caught up"
                )
            }))
            .collect()
    }

    /// How the writing of each kind of key files has been going.
    pub fn key_writes(&self) -> [&WriteHealth; 3] {
        let [session, access] = self.secrets.tokens.keyring().writes();
        [self.secrets.texts.writes(), session, access]
    }
}
