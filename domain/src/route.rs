//! Owns: which model a run goes to.
//! Does not own: how it is called, retried or paid.

use crate::catalogue::{Catalogue, Model};
use crate::denial::Denial;
use crate::id::{ModelId, SkillId};
use crate::rate::RateBook;
use crate::time::Timestamp;

/// The model for a run: the one that is named, or else the skill's own. A model without a rate is refused here, before
/// it is called.
pub fn choose<'a>(
    catalogue: &'a Catalogue,
    book: &RateBook,
    now: Timestamp,
    skill: Option<&SkillId>,
    model: Option<&ModelId>,
) -> Result<&'a Model, Denial> {
    let model = match (model, skill) {
        (Some(model), _) => catalogue.model(model)?,
        (None, Some(skill)) => catalogue.model(&catalogue.skill(skill)?.model)?,
        (None, None) => {
            return Err(Denial::invalid("model", "is missing", "Name a model; GET /v1/models lists them."));
        }
    };
    match book.rate_of(model, now) {
        Some(_) => Ok(model),
        None => Err(Denial::UnpricedModel { model: model.id.clone() }),
    }
}

/// The models that can be run at a moment: those of the catalogue that have a rate.
pub fn offered<'a>(catalogue: &'a Catalogue, book: &RateBook, now: Timestamp) -> Vec<&'a Model> {
    catalogue.models.iter().filter(|model| book.rate_of(model, now).is_some()).collect()
}
