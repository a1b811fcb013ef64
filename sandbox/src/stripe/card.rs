//! Owns: the test cards and what happens to each, and the check of what is typed into the card form.

/// Why a payment failed, as Stripe says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decline {
    pub code: &'static str,
    pub decline_code: Option<&'static str>,
    pub message: &'static str,
}

impl Decline {
    /// Every decline that a bank may say of a card that worked before, by Stripe's decline code.
    const ALL: [Decline; 10] = [
        GENERIC,
        NO_FUNDS,
        LOST,
        STOLEN,
        EXPIRED,
        FRAUDULENT,
        DO_NOT_HONOR,
        TOO_OFTEN,
        PROCESSING,
        AUTHENTICATION_REQUIRED,
    ];

    /// The decline with this decline code.
    pub fn of(decline_code: &str) -> Option<Decline> {
        Decline::ALL.into_iter().find(|decline| decline.decline_code == Some(decline_code))
    }
}

/// What happens when a card is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Succeeds,
    Declines(Decline),
    /// Pays on the hosted page, is refused when it is charged later without the customer.
    DeclinesLater,
    /// Asks for 3-D Secure; charged without the customer, it is refused.
    Authenticates,
    /// A bank debit: the session completes unpaid, and the money comes (or does not come) later.
    SettlesLater {
        succeeds: bool,
    },
}

/// A card or account that the sandbox knows.
#[derive(Clone, Copy, Debug)]
pub struct TestCard {
    pub number: &'static str,
    pub brand: &'static str,
    /// What the list of test cards says about it.
    pub note: &'static str,
    pub behaviour: Behaviour,
    /// Stripe's name for a ready-made payment method with it.
    pub token: &'static str,
}

pub const GENERIC: Decline =
    Decline { code: "card_declined", decline_code: Some("generic_decline"), message: "Your card was declined." };
const NO_FUNDS: Decline = Decline {
    code: "card_declined",
    decline_code: Some("insufficient_funds"),
    message: "Your card has insufficient funds.",
};
const LOST: Decline =
    Decline { code: "card_declined", decline_code: Some("lost_card"), message: "Your card was declined." };
const STOLEN: Decline =
    Decline { code: "card_declined", decline_code: Some("stolen_card"), message: "Your card was declined." };
const EXPIRED: Decline =
    Decline { code: "expired_card", decline_code: Some("expired_card"), message: "Your card has expired." };
const FRAUDULENT: Decline =
    Decline { code: "card_declined", decline_code: Some("fraudulent"), message: "Your card was declined." };
const DO_NOT_HONOR: Decline =
    Decline { code: "card_declined", decline_code: Some("do_not_honor"), message: "Your card was declined." };
const TOO_OFTEN: Decline = Decline {
    code: "card_declined",
    decline_code: Some("card_velocity_exceeded"),
    message: "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
};
const PROCESSING: Decline = Decline {
    code: "processing_error",
    decline_code: Some("processing_error"),
    message: "An error occurred while processing your card. Try again in a little bit.",
};
const WRONG_CVC: Decline = Decline {
    code: "incorrect_cvc",
    decline_code: Some("incorrect_cvc"),
    message: "Your card's security code is incorrect.",
};
const NOT_A_TEST_CARD: Decline = Decline {
    code: "card_declined",
    decline_code: Some("test_mode_live_card"),
    message: "Your card was declined. Your request was in test mode, but used a non test card.",
};
pub const AUTHENTICATION_REQUIRED: Decline = Decline {
    code: "authentication_required",
    decline_code: Some("authentication_required"),
    message: "Your card was declined. This transaction requires authentication.",
};
pub const AUTHENTICATION_FAILED: Decline = Decline {
    code: "payment_intent_authentication_failure",
    decline_code: None,
    message: "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
};
pub const DEBIT_FAILED: Decline = Decline {
    code: "payment_intent_payment_attempt_failed",
    decline_code: None,
    message: "The bank returned the debit for lack of funds.",
};

#[rustfmt::skip]
pub const CARDS: &[TestCard] = &[
    TestCard { number: "4242424242424242", brand: "visa", note: "Pays", behaviour: Behaviour::Succeeds, token: "pm_card_visa" },
    TestCard { number: "5555555555554444", brand: "mastercard", note: "Pays (Mastercard)", behaviour: Behaviour::Succeeds, token: "pm_card_mastercard" },
    TestCard { number: "4000000000009995", brand: "visa", note: "Declined: insufficient funds", behaviour: Behaviour::Declines(NO_FUNDS), token: "pm_card_visa_chargeDeclinedInsufficientFunds" },
    TestCard { number: "4000000000000002", brand: "visa", note: "Declined, without a reason", behaviour: Behaviour::Declines(GENERIC), token: "pm_card_visa_chargeDeclined" },
    TestCard { number: "4000002760003184", brand: "visa", note: "Asks for 3-D Secure", behaviour: Behaviour::Authenticates, token: "pm_card_authenticationRequired" },
    TestCard { number: "4000000000000341", brand: "visa", note: "Pays now, is declined on later charges", behaviour: Behaviour::DeclinesLater, token: "pm_card_chargeCustomerFail" },
    TestCard { number: "4000000000000069", brand: "visa", note: "Declined: expired card", behaviour: Behaviour::Declines(EXPIRED), token: "pm_card_chargeDeclinedExpiredCard" },
    TestCard { number: "4000000000009987", brand: "visa", note: "Declined: lost card", behaviour: Behaviour::Declines(LOST), token: "pm_card_visa_chargeDeclinedLostCard" },
    TestCard { number: "4000000000009979", brand: "visa", note: "Declined: stolen card", behaviour: Behaviour::Declines(STOLEN), token: "pm_card_visa_chargeDeclinedStolenCard" },
    TestCard { number: "4000000000003220", brand: "visa", note: "Asks for 3-D Secure (version 2)", behaviour: Behaviour::Authenticates, token: "pm_card_threeDSecure2Required" },
    TestCard { number: "4100000000000019", brand: "visa", note: "Declined: fraudulent", behaviour: Behaviour::Declines(FRAUDULENT), token: "pm_card_radarBlock" },
    TestCard { number: "4000000000006975", brand: "visa", note: "Declined: charged too often", behaviour: Behaviour::Declines(TOO_OFTEN), token: "pm_card_visa_chargeDeclinedVelocityLimitExceeded" },
    TestCard { number: "4000000000000119", brand: "visa", note: "Declined: processing error", behaviour: Behaviour::Declines(PROCESSING), token: "pm_card_chargeDeclinedProcessingError" },
    TestCard { number: "4000000000000127", brand: "visa", note: "Declined: wrong security code", behaviour: Behaviour::Declines(WRONG_CVC), token: "pm_card_chargeDeclinedIncorrectCvc" },
    TestCard { number: "000123456789", brand: "bank", note: "Bank debit: the money comes a little later", behaviour: Behaviour::SettlesLater { succeeds: true }, token: "pm_usBankAccount_success" },
    TestCard { number: "000111111116", brand: "bank", note: "Bank debit: it fails a little later", behaviour: Behaviour::SettlesLater { succeeds: false }, token: "pm_usBankAccount_accountClosed" },
];

/// What happens to a number. One that is on no list is a real card, and no real card works here.
pub fn behaviour(number: &str) -> Behaviour {
    CARDS.iter().find(|card| card.number == number).map_or(Behaviour::Declines(NOT_A_TEST_CARD), |card| card.behaviour)
}

/// What somebody typed into the card form.
#[derive(Clone, Debug, Default)]
pub struct CardForm {
    pub number: String,
    pub expiry: String,
    pub cvc: String,
    pub name: String,
}

/// A card whose entries are well formed.
#[derive(Clone, Debug)]
pub struct Card {
    pub number: String,
    pub exp_month: i64,
    pub exp_year: i64,
    pub name: String,
}

/// What is wrong with which field, in the words beside the field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors {
    pub number: Option<&'static str>,
    pub expiry: Option<&'static str>,
    pub cvc: Option<&'static str>,
    pub name: Option<&'static str>,
}

/// Checks the form at a moment, in seconds since 1970.
pub fn check(form: &CardForm, now: i64) -> Result<Card, FieldErrors> {
    let number: String = form.number.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    let is_bank = CARDS.iter().any(|card| card.brand == "bank" && card.number == number);
    let expiry = read_expiry(&form.expiry);
    let errors = FieldErrors {
        number: if number.is_empty() {
            Some("Enter a card number.")
        } else if !number.bytes().all(|b| b.is_ascii_digit()) || !(12..=19).contains(&number.len()) {
            Some("A card number has 12 to 19 digits.")
        } else if !is_bank && !luhn(&number) {
            Some("This card number is not valid. Check its digits.")
        } else {
            None
        },
        expiry: match expiry {
            None => Some("Enter the month and year as MM/YY."),
            Some((month, year)) if is_past(month, year, now) => Some("This card has expired."),
            Some(_) => None,
        },
        cvc: {
            let cvc = form.cvc.trim();
            let well_formed = (3..=4).contains(&cvc.len()) && cvc.bytes().all(|b| b.is_ascii_digit());
            if well_formed { None } else { Some("Enter the 3 or 4 digits of the security code.") }
        },
        name: if form.name.trim().is_empty() { Some("Enter the name on the card.") } else { None },
    };
    match expiry {
        Some((exp_month, exp_year)) if errors == FieldErrors::default() => {
            Ok(Card { number, exp_month, exp_year, name: form.name.trim().to_owned() })
        }
        Some(_) | None => Err(errors),
    }
}

/// `04/27`, `4 / 2027` or `0427` as month and full year.
fn read_expiry(text: &str) -> Option<(i64, i64)> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (month, year) = match text.split_once(['/', '-']) {
        Some(parts) => parts,
        None if text.len() == 4 && text.is_ascii() => text.split_at(2),
        None => return None,
    };
    let month: i64 = month.parse().ok()?;
    let year: i64 = match year.len() {
        2 => 2000 + year.parse::<i64>().ok()?,
        4 => year.parse().ok()?,
        _ => return None,
    };
    (1..=12).contains(&month).then_some((month, year))
}

fn is_past(month: i64, year: i64, now: i64) -> bool {
    match time::OffsetDateTime::from_unix_timestamp(now) {
        Ok(today) => (year, month) < (i64::from(today.year()), i64::from(u8::from(today.month()))),
        Err(_) => false,
    }
}

/// The check digit that every card number has.
fn luhn(number: &str) -> bool {
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(position, digit)| {
            let digit = u32::from(digit - b'0');
            match (position % 2, digit) {
                (0, _) => digit,
                (_, 0..=4) => digit * 2,
                (_, _) => digit * 2 - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOVEMBER_2026: i64 = 1_795_000_000;

    fn form(number: &str, expiry: &str, cvc: &str) -> CardForm {
        CardForm { number: number.into(), expiry: expiry.into(), cvc: cvc.into(), name: "Ada Example".into() }
    }

    #[test]
    fn each_malformed_entry_has_its_own_error() {
        assert!(check(&form("4242 4242 4242 4242", "12/30", "123"), NOVEMBER_2026).is_ok());
        assert!(check(&form("4242-4242-4242-4242", "1130", "1234"), NOVEMBER_2026).is_ok());
        assert!(check(&form("4242424242424241", "12/30", "123"), NOVEMBER_2026).unwrap_err().number.is_some());
        assert!(check(&form("4242", "12/30", "123"), NOVEMBER_2026).unwrap_err().number.is_some());
        assert!(check(&form("4242424242424242", "10/26", "123"), NOVEMBER_2026).unwrap_err().expiry.is_some());
        assert!(check(&form("4242424242424242", "11/26", "123"), NOVEMBER_2026).is_ok());
        assert!(check(&form("4242424242424242", "13/30", "123"), NOVEMBER_2026).unwrap_err().expiry.is_some());
        assert!(check(&form("4242424242424242", "12/30", "12"), NOVEMBER_2026).unwrap_err().cvc.is_some());
    }

    #[test]
    fn every_listed_card_is_a_number_the_form_accepts() {
        for card in CARDS {
            assert!(check(&form(card.number, "12/30", "123"), NOVEMBER_2026).is_ok(), "{}", card.number);
        }
    }
}
