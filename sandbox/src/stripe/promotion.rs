//! Owns: coupons, the promotion codes that customers type, and the discount that a subscription then has.

use super::error::ApiError;
use super::list;
use super::params::Params;
use super::store::{Call, Object};
use crate::world::Parts;
use domain::text_enum;
use serde_json::{Value, json};

text_enum! {
    /// How long a coupon takes something off.
    CouponDuration { Once = "once", Forever = "forever" }
}

#[derive(Clone, Debug)]
pub struct Coupon {
    pub id: String,
    created: i64,
    name: Option<String>,
    /// Whole percents.
    percent_off: Option<i64>,
    amount_off: Option<i64>,
    pub duration: CouponDuration,
}

impl Coupon {
    /// What it takes off an amount, half up to the cent, and never more than the amount.
    pub fn off(&self, amount: i64) -> i64 {
        let percent = self.percent_off.map_or(0, |percent| (amount.saturating_mul(percent) + 50).div_euclid(100));
        (percent + self.amount_off.unwrap_or(0)).clamp(0, amount.max(0))
    }
}

impl Object for Coupon {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        json!({
            "id": self.id, "object": "coupon", "amount_off": self.amount_off, "created": self.created,
            "currency": self.amount_off.map(|_| "usd"), "duration": self.duration.as_str(), "duration_in_months": null,
            "livemode": false, "max_redemptions": null, "metadata": {}, "name": self.name,
            "percent_off": self.percent_off, "redeem_by": null, "times_redeemed": 0, "valid": true,
        })
    }
}

/// A code that customers type.
#[derive(Clone, Debug)]
pub struct PromotionCode {
    pub id: String,
    created: i64,
    pub code: String,
    pub coupon: String,
    active: bool,
    times_redeemed: i64,
}

impl Object for PromotionCode {
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
    fn json(&self, _world: &Parts) -> Value {
        json!({
            "id": self.id, "object": "promotion_code", "active": self.active, "code": self.code, "created": self.created,
            "customer": null, "customer_account": null, "expires_at": null, "livemode": false, "max_redemptions": null,
            "metadata": {}, "promotion": {"type": "coupon", "coupon": self.coupon},
            "restrictions": {"first_time_transaction": false, "minimum_amount": null, "minimum_amount_currency": null},
            "times_redeemed": self.times_redeemed,
        })
    }
}

pub fn create_coupon(call: &mut Call<'_>, params: &Params) -> Result<Value, ApiError> {
    params.only(&["id", "name", "percent_off", "amount_off", "currency", "duration", "metadata"])?;
    let (percent_off, amount_off) = (params.integer(&["percent_off"])?, params.integer(&["amount_off"])?);
    if percent_off.is_some() == amount_off.is_some() {
        return Err(ApiError::invalid("percent_off", "Give either percent_off or amount_off."));
    }
    let duration = params.text(&["duration"]).unwrap_or("once");
    let duration = duration.parse().map_err(|error| ApiError::invalid("duration", &format!("{error}")))?;
    let id = params.owned(&["id"]).unwrap_or_else(|| call.world.clock.new_id("coupon_"));
    let coupon =
        Coupon { created: call.now, name: params.owned(&["name"]), percent_off, amount_off, duration, id: id.clone() };
    let answer = coupon.json(call.world);
    call.store.coupons.insert(coupon);
    Ok(answer)
}

pub fn create_code(call: &mut Call<'_>, params: &Params) -> Result<Value, ApiError> {
    params.only(&["promotion", "code", "active", "metadata", "max_redemptions"])?;
    let coupon = params.required(&["promotion", "coupon"])?.to_owned();
    if call.store.coupons.find(&coupon).is_none() {
        return Err(ApiError::no_such_param("coupon", "promotion[coupon]", &coupon));
    }
    let id = call.world.clock.new_id("promo_");
    let code = PromotionCode {
        created: call.now,
        code: params.required(&["code"])?.to_owned(),
        coupon,
        active: params.boolean(&["active"])?.unwrap_or(true),
        times_redeemed: 0,
        id: id.clone(),
    };
    call.store.promotion_codes.insert(code);
    Ok(call.json(&id))
}

pub fn page(call: &Call<'_>, path: &str, params: &Params) -> Result<Value, ApiError> {
    let (code, active) = (params.text(&["code"]), params.boolean(&["active"])?);
    list::page(&call.store.promotion_codes, call.world, path, params, |promotion| {
        code.is_none_or(|code| code.eq_ignore_ascii_case(&promotion.code))
            && active.is_none_or(|active| active == promotion.active)
    })
}

/// The coupon that a customer's code stands for.
pub fn coupon_of_code(call: &Call<'_>, code: &str) -> Option<Coupon> {
    let promotion =
        call.store.promotion_codes.iter().find(|known| known.active && known.code.eq_ignore_ascii_case(code))?;
    call.store.coupons.find(&promotion.coupon).cloned()
}

/// The coupon that a list of discounts in a request names, by coupon or by promotion code.
pub fn read_discounts(call: &Call<'_>, params: &Params) -> Result<Option<Coupon>, ApiError> {
    let Some(first) = params.list(&["discounts"]).into_iter().next() else { return Ok(None) };
    let id = match (first.text(&["coupon"]), first.text(&["promotion_code"])) {
        (Some(coupon), _) => coupon.to_owned(),
        (None, Some(code)) => {
            let known = call.store.promotion_codes.find(code);
            known
                .map(|known| known.coupon.clone())
                .ok_or_else(|| ApiError::no_such_param("promotion code", "discounts[0][promotion_code]", code))?
        }
        (None, None) => return Ok(None),
    };
    let coupon = call.store.coupons.find(&id).cloned();
    coupon.map(Some).ok_or_else(|| ApiError::no_such_param("coupon", "discounts[0][coupon]", &id))
}
