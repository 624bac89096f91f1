//! The tables of the file.

use redb::TableDefinition;

/// Single numbers: when the relay lived last, and the form of all this.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Units by number, as JSON.
pub(super) const UNITS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("units");
/// Numbers of units by key.
pub(super) const NUMBERS: TableDefinition<'_, &[u8], u32> = TableDefinition::new("numbers");
/// From when on a unit had which verdict, milliseconds since the Unix epoch; until the next row.
pub(super) const TURNS: TableDefinition<'_, (u32, u64), u8> = TableDefinition::new("turns");
/// When the relay was not there: from, and until.
pub(super) const GAPS: TableDefinition<'_, u64, u64> = TableDefinition::new("gaps");
/// Incidents by id, as JSON.
pub(super) const INCIDENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("incidents");
/// Silences by id, as JSON.
pub(super) const SILENCES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("silences");
/// What a webhook's target, by number, was told of an incident, by id: a [`super::Mark`] as a number.
pub(super) const MARKS: TableDefinition<'_, (u64, u64), u8> = TableDefinition::new("marks");

/// When the relay lived last.
pub(super) const ALIVE: &str = "alive_ms";
/// The form of the file.
pub(super) const FORM: &str = "form";
/// The form that this program writes and reads.
pub(super) const FORM_NOW: u64 = 1;
