//! Owns: calling Stripe about plans: prices, subscriptions, invoices, the portal.
//! Does not own: time-outs and retries (`client`), or when it is called.
//! Invariant: every call that changes something carries an idempotency key, the same one on each retry.

use super::client::{Client, Failure, idempotent};
use super::object::{Checkout, CustomerId};
use super::plan::{
    ACCOUNT_ID, Had, Invoice, InvoiceId, ItemId, NewPrice, PLAN_CHANGE_ID, PriceAtStripe, PriceId, ProductId,
    Subscription, SubscriptionId,
};
use domain::id::{AccountId, PlanChangeId};
use domain::time::Timestamp;
use std::collections::HashMap;
use stripe::StripeRequest as _;
use stripe_billing::billing_meter_event::CreateBillingMeterEvent;
use stripe_billing::billing_portal_session::CreateBillingPortalSession;
use stripe_billing::invoice::{
    CreatePreviewInvoice, CreatePreviewInvoiceSubscriptionDetails, CreatePreviewInvoiceSubscriptionDetailsItems,
    CreatePreviewInvoiceSubscriptionDetailsProrationBehavior, ListInvoice, PayInvoice, RetrieveInvoice,
};
use stripe_billing::subscription::{
    CancelSubscription, RetrieveSubscription, UpdateSubscription, UpdateSubscriptionItems,
    UpdateSubscriptionPaymentBehavior, UpdateSubscriptionProrationBehavior,
};
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionAutomaticTax, CreateCheckoutSessionCustomerUpdate,
    CreateCheckoutSessionCustomerUpdateAddress, CreateCheckoutSessionLineItems, CreateCheckoutSessionSubscriptionData,
};
use stripe_product::price::{
    CreatePrice, CreatePriceRecurring, CreatePriceRecurringInterval, ListPrice, RetrievePrice,
};
use stripe_product::product::{CreateProduct, RetrieveProduct};
use stripe_types::RangeQueryTs;

/// How many invoices of a subscription are read at a time: more than a year's.
const INVOICES: i64 = 24;

/// A first subscription to begin on Stripe's page. The same fields must be sent on each retry.
pub struct NewSubscription<'a> {
    /// Also the idempotency key.
    pub plan_change_id: &'a PlanChangeId,
    pub account_id: &'a AccountId,
    pub customer_id: &'a CustomerId,
    pub price_id: &'a PriceId,
    pub seats: u32,
    /// Days that cost nothing, with a card that pays afterwards.
    pub trial_days: Option<u32>,
    /// Stripe computes taxes by the buyer's address.
    pub automatic_tax: bool,
    pub expires_at: Timestamp,
    pub success_url: String,
    pub cancel_url: String,
}

/// When a changed item is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// At once, and the change happens only if it is paid.
    Now { at: Timestamp },
    /// On the next invoice, as a credit.
    NextInvoice { at: Timestamp },
    /// Not at all: the next period costs what it costs.
    NextPeriod,
}

/// A new price and quantity for a subscription's item.
#[derive(Clone, Debug)]
pub struct ItemChange<'a> {
    pub subscription_id: &'a SubscriptionId,
    pub item_id: &'a ItemId,
    pub price_id: &'a PriceId,
    pub seats: u32,
    pub settle: Settle,
}

/// What was used in an hour, for a meter of Stripe's.
#[derive(Clone, Debug)]
pub struct MeterEvent<'a> {
    /// The meter's event name.
    pub name: &'a str,
    /// Stripe takes one event for each.
    pub identifier: String,
    pub customer_id: &'a CustomerId,
    pub value: i64,
    pub at: Timestamp,
}

impl Client {
    /// Tells a meter. `Refused` with "already exists" when it was told before.
    pub async fn tell_meter(&self, event: &MeterEvent<'_>) -> Result<(), Failure> {
        let payload = HashMap::from([
            ("stripe_customer_id".to_owned(), event.customer_id.to_string()),
            ("value".to_owned(), event.value.to_string()),
        ]);
        let request = CreateBillingMeterEvent::new(event.name, payload)
            .identifier(event.identifier.as_str())
            .timestamp(event.at.seconds());
        let strategy = idempotent(&format!("meter:{}", event.identifier))?;
        self.send("tell a meter", || request.customize().request_strategy(strategy.clone()).send(&self.stripe))
            .await
            .map(drop)
    }

    /// The product with this id, made if it is missing; whether it was made.
    pub async fn ensure_product(&self, product_id: &ProductId, name: &str, description: &str) -> Result<bool, Failure> {
        if self.has_product(product_id).await? {
            return Ok(false);
        }
        let request = CreateProduct::new(name).id(product_id.as_str()).description(description);
        let strategy = idempotent(&format!("product:{product_id}"))?;
        self.send("make a product", || request.customize().request_strategy(strategy.clone()).send(&self.stripe))
            .await?;
        Ok(true)
    }

    pub async fn has_product(&self, product_id: &ProductId) -> Result<bool, Failure> {
        let request = RetrieveProduct::new(product_id.as_str());
        match self.send("read a product", || request.send(&self.stripe)).await {
            Ok(_) => Ok(true),
            Err(Failure::Missing) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The price that has this lookup key, whether it can be bought or not.
    pub async fn find_price(&self, lookup_key: &str) -> Result<Option<PriceAtStripe>, Failure> {
        let request = ListPrice::new().lookup_keys(vec![lookup_key.to_owned()]).limit(1);
        let found = self.send("look up a price", || request.send(&self.stripe)).await?;
        Ok(found.data.into_iter().next().map(PriceAtStripe::from_stripe))
    }

    pub async fn load_price(&self, price_id: &PriceId) -> Result<PriceAtStripe, Failure> {
        let request = RetrievePrice::new(price_id.as_str());
        self.send("read a price", || request.send(&self.stripe)).await.map(PriceAtStripe::from_stripe)
    }

    pub async fn create_price(&self, new: NewPrice<'_>) -> Result<PriceAtStripe, Failure> {
        let metadata = HashMap::from([
            ("plan_id".to_owned(), new.plan.to_string()),
            ("key_mode".to_owned(), new.key_mode.to_string()),
        ]);
        let request = CreatePrice::new(stripe_types::Currency::USD)
            .product(new.product_id.as_str())
            .unit_amount(new.unit.0)
            .recurring(CreatePriceRecurring::new(CreatePriceRecurringInterval::Month))
            .lookup_key(new.lookup_key)
            .nickname(new.nickname)
            .metadata(metadata);
        let strategy = idempotent(&format!("price:{}", new.lookup_key))?;
        let price = self
            .send("make a price", || request.customize().request_strategy(strategy.clone()).send(&self.stripe))
            .await?;
        Ok(PriceAtStripe::from_stripe(price))
    }

    /// Makes a Checkout Session for a first subscription, or answers with the one that this change has already.
    pub async fn create_subscription_checkout(&self, new: NewSubscription<'_>) -> Result<Checkout, Failure> {
        let metadata = HashMap::from([
            (ACCOUNT_ID.to_owned(), new.account_id.to_string()),
            (PLAN_CHANGE_ID.to_owned(), new.plan_change_id.to_string()),
        ]);
        let mut line = CreateCheckoutSessionLineItems::new();
        line.price = Some(new.price_id.to_string());
        line.quantity = Some(u64::from(new.seats));
        let mut data = CreateCheckoutSessionSubscriptionData::new();
        data.metadata = Some(metadata.clone());
        data.trial_period_days = new.trial_days;
        let mut request = CreateCheckoutSession::new()
            .mode(stripe_shared::CheckoutSessionMode::Subscription)
            .line_items(vec![line])
            .subscription_data(data)
            .metadata(metadata)
            .client_reference_id(new.plan_change_id.as_str())
            .customer(new.customer_id.as_str())
            .allow_promotion_codes(true)
            .expires_at(new.expires_at.seconds())
            .success_url(new.success_url)
            .cancel_url(new.cancel_url);
        if new.automatic_tax {
            let mut update = CreateCheckoutSessionCustomerUpdate::new();
            update.address = Some(CreateCheckoutSessionCustomerUpdateAddress::Auto);
            request = request.automatic_tax(CreateCheckoutSessionAutomaticTax::new(true)).customer_update(update);
        }
        let strategy = idempotent(new.plan_change_id.as_str())?;
        let session = self
            .send("create a Checkout Session", || {
                request.customize().request_strategy(strategy.clone()).send(&self.stripe)
            })
            .await?;
        Ok(Checkout::from_stripe(session))
    }

    /// The subscription as it is now.
    pub async fn load_subscription(&self, subscription_id: &SubscriptionId) -> Result<Subscription, Failure> {
        let request =
            RetrieveSubscription::new(subscription_id.as_str()).expand(vec!["default_payment_method".to_owned()]);
        let sub = self.send("read a subscription", || request.send(&self.stripe)).await?;
        Subscription::from_stripe(sub)
    }

    /// What a change would be billed, or the next invoice as it stands (`None`). `Missing` if nothing will be billed.
    pub async fn preview(
        &self,
        subscription_id: &SubscriptionId,
        change: Option<&ItemChange<'_>>,
    ) -> Result<Invoice, Failure> {
        use CreatePreviewInvoiceSubscriptionDetailsProrationBehavior as Behavior;
        let mut request = CreatePreviewInvoice::new().subscription(subscription_id.as_str());
        if let Some(change) = change {
            let mut item = CreatePreviewInvoiceSubscriptionDetailsItems::new();
            item.id = Some(change.item_id.to_string());
            item.price = Some(change.price_id.to_string());
            item.quantity = Some(u64::from(change.seats));
            let mut details = CreatePreviewInvoiceSubscriptionDetails::new();
            details.items = Some(vec![item]);
            let (behavior, at) = match change.settle {
                Settle::Now { at } => (Behavior::AlwaysInvoice, Some(at)),
                Settle::NextInvoice { at } => (Behavior::CreateProrations, Some(at)),
                Settle::NextPeriod => (Behavior::None, None),
            };
            details.proration_behavior = Some(behavior);
            details.proration_date = at.map(Timestamp::seconds);
            request = request.subscription_details(details);
        }
        let invoice = self.send("preview an invoice", || request.send(&self.stripe)).await?;
        Invoice::from_stripe(invoice)
    }

    /// Changes the item. `had` says what the account has until the period ends where that is more than what is billed
    /// next. With [`Settle::Now`] nothing is changed unless it is paid.
    pub async fn change_item(
        &self,
        idempotency_key: &str,
        change: &ItemChange<'_>,
        had: Option<&Had>,
    ) -> Result<Subscription, Failure> {
        use UpdateSubscriptionProrationBehavior as Behavior;
        let mut item = UpdateSubscriptionItems::new();
        item.id = Some(change.item_id.to_string());
        item.price = Some(change.price_id.to_string());
        item.quantity = Some(u64::from(change.seats));
        let request =
            UpdateSubscription::new(change.subscription_id.as_str()).items(vec![item]).metadata(Had::to_metadata(had));
        let request = match change.settle {
            Settle::Now { at } => request
                .proration_behavior(Behavior::AlwaysInvoice)
                .proration_date(at.seconds())
                .payment_behavior(UpdateSubscriptionPaymentBehavior::ErrorIfIncomplete),
            Settle::NextInvoice { at } => {
                request.proration_behavior(Behavior::CreateProrations).proration_date(at.seconds())
            }
            Settle::NextPeriod => request.proration_behavior(Behavior::None),
        };
        self.update_subscription(idempotency_key, request).await
    }

    /// Lets the subscription end with its period, or not.
    pub async fn set_cancel(
        &self,
        idempotency_key: &str,
        subscription_id: &SubscriptionId,
        cancels: bool,
    ) -> Result<Subscription, Failure> {
        let request = UpdateSubscription::new(subscription_id.as_str()).cancel_at_period_end(cancels);
        self.update_subscription(idempotency_key, request).await
    }

    async fn update_subscription(&self, key: &str, request: UpdateSubscription) -> Result<Subscription, Failure> {
        let strategy = idempotent(key)?;
        let sub = self
            .send("change a subscription", || request.customize().request_strategy(strategy.clone()).send(&self.stripe))
            .await?;
        Subscription::from_stripe(sub)
    }

    /// Ends a subscription at once; what was paid and not had becomes credit at Stripe.
    pub async fn end_subscription(&self, subscription_id: &SubscriptionId) -> Result<(), Failure> {
        let request = CancelSubscription::new(subscription_id.as_str()).prorate(true).invoice_now(true);
        let strategy = idempotent(&format!("end:{subscription_id}"))?;
        self.send("end a subscription", || request.customize().request_strategy(strategy.clone()).send(&self.stripe))
            .await
            .map(drop)
    }

    /// The subscription's invoices that were made since a moment, newest first; `None` for those of at least a year.
    pub async fn list_invoices(
        &self,
        subscription_id: &SubscriptionId,
        since: Option<Timestamp>,
    ) -> Result<Vec<Invoice>, Failure> {
        let mut request = ListInvoice::new().subscription(subscription_id.as_str()).limit(INVOICES);
        if let Some(since) = since {
            request = request.created(RangeQueryTs::gte(since.seconds()));
        }
        let list = self.send("list invoices", || request.send(&self.stripe)).await?;
        list.data.into_iter().map(Invoice::from_stripe).collect()
    }

    pub async fn load_invoice(&self, invoice_id: &InvoiceId) -> Result<Invoice, Failure> {
        let request = RetrieveInvoice::new(invoice_id.as_str());
        let invoice = self.send("read an invoice", || request.send(&self.stripe)).await?;
        Invoice::from_stripe(invoice)
    }

    /// Tries now to pay an open invoice with the card on file.
    pub async fn pay_invoice(&self, idempotency_key: &str, invoice_id: &InvoiceId) -> Result<Invoice, Failure> {
        let request = PayInvoice::new(invoice_id.as_str());
        let strategy = idempotent(idempotency_key)?;
        let invoice = self
            .send("pay an invoice", || request.customize().request_strategy(strategy.clone()).send(&self.stripe))
            .await?;
        Invoice::from_stripe(invoice)
    }

    /// The address of Stripe's page where the customer changes card and address, for a short time.
    pub async fn open_portal(&self, customer_id: &CustomerId, return_url: &str) -> Result<String, Failure> {
        let request = CreateBillingPortalSession::new().customer(customer_id.as_str()).return_url(return_url);
        let session = self.send("open the billing portal", || request.send(&self.stripe)).await?;
        Ok(session.url)
    }
}
