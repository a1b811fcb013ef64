//! Owns: the words of which the models' documents are made: sections for each skill, sentences, and what fills their gaps.

/// What kind of document is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Recall,
    Story,
    Requirements,
    Agent,
    Bet,
    Gateway,
    General,
}

impl Kind {
    pub const ALL: [Kind; 7] =
        [Kind::Recall, Kind::Story, Kind::Requirements, Kind::Agent, Kind::Bet, Kind::Gateway, Kind::General];

    /// The heading's beginning; the topic follows.
    pub const fn title(self) -> &'static str {
        match self {
            Kind::Recall => "What we know",
            Kind::Story => "User stories",
            Kind::Requirements => "Product requirements",
            Kind::Agent => "Product agent's working brief",
            Kind::Bet => "Strategic bet",
            Kind::Gateway => "Leadership gateway",
            Kind::General => "Answer",
        }
    }

    /// About how many tokens such a document has.
    pub const fn usual_tokens(self) -> u64 {
        match self {
            Kind::Recall => 1_000,
            Kind::Story => 2_000,
            Kind::Requirements => 5_000,
            Kind::Agent => 8_000,
            Kind::Bet => 10_000,
            Kind::Gateway => 15_000,
            Kind::General => 260,
        }
    }

    pub const fn sections(self) -> &'static [(&'static str, Shape)] {
        match self {
            Kind::Recall => {
                &[("Decisions so far", Shape::Bullets), ("Why", Shape::Prose), ("Still open", Shape::Bullets)]
            }
            Kind::Story => &[
                ("Stories", Shape::Stories),
                ("Acceptance criteria", Shape::Criteria),
                ("Left out on purpose", Shape::Bullets),
            ],
            Kind::Requirements => &[
                ("Problem", Shape::Prose),
                ("Who it is for", Shape::Table),
                ("What we will build", Shape::Areas),
                ("How we will know", Shape::Measures),
                ("Acceptance criteria", Shape::Criteria),
                ("Risks", Shape::Bullets),
                ("Rollout", Shape::Steps),
                ("Open questions", Shape::Bullets),
            ],
            Kind::Agent => &[
                ("Mission", Shape::Prose),
                ("What I have read", Shape::Bullets),
                ("How I will work", Shape::Steps),
                ("Areas", Shape::Areas),
                ("First stories", Shape::Stories),
                ("Checks before I hand over", Shape::Criteria),
                ("Measures I will watch", Shape::Measures),
                ("What I need from you", Shape::Bullets),
            ],
            Kind::Bet => &[
                ("The bet in one paragraph", Shape::Prose),
                ("What must be true", Shape::Bullets),
                ("Evidence", Shape::Areas),
                ("Alternatives", Shape::Table),
                ("Costs and returns", Shape::Measures),
                ("Sequence", Shape::Steps),
                ("What would make us stop", Shape::Criteria),
                ("Risks", Shape::Bullets),
            ],
            Kind::Gateway => &[
                ("Recommendation", Shape::Prose),
                ("Where each initiative stands", Shape::Table),
                ("Evidence by area", Shape::Areas),
                ("Measures", Shape::Measures),
                ("Conditions for going on", Shape::Criteria),
                ("Dependencies", Shape::Bullets),
                ("Plan to the next gateway", Shape::Steps),
                ("Minority views", Shape::Prose),
                ("Questions for the room", Shape::Bullets),
            ],
            Kind::General => &[("In short", Shape::Prose), ("Next", Shape::Bullets)],
        }
    }
}

/// How a section is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Prose,
    Bullets,
    Steps,
    Stories,
    Criteria,
    Measures,
    Table,
    /// A heading for each area, with prose and bullets below.
    Areas,
}

/// Sentences; `{who}` and its like are gaps.
pub const SENTENCES: &[&str] = &[
    "In {n} of {m} interviews, {who} said that {pain}.",
    "We looked at {n} weeks of {source}, and {pct} of the cases begin with {what}.",
    "Today {who} work around it with {tool}, which costs about {n} hours a week for each team.",
    "The simplest change that helps is {change}; everything else can wait for its result.",
    "{Who} decide within the first minute, so {what} has to be right before anything else.",
    "We assume that {assumption}; if {source} shows otherwise after {when}, we stop and look again.",
    "{Team} owns this, {team2} reviews it, and neither ships without {check}.",
    "The figure to move is {metric}, from {pct} to {pct2} by {when}.",
    "What we will not do is {exclusion}, because it would hide {what} from the people who pay for it.",
    "A smaller version with {change} alone could be in use after {n} weeks.",
    "Support sees {n} tickets a month about {what}, and most of them end with {who} asking for {wish}.",
    "The risk is that {risk}; {check} would show it early.",
    "{Who} trust a number when they can open it, so each figure links to {source}.",
    "Two earlier attempts failed since {risk}, not because {what} was hard to build.",
    "If we do nothing, {pain}, and {metric} goes on falling by about {pct} a quarter.",
    "This depends on {team}, who have agreed to {change} by {when}.",
    "For {who}, the order is {what} first, then {wish}.",
    "The data is thin: {n} accounts, {m} events, one quarter. We treat it as a hint and no more.",
];

pub const STORIES: &[&str] = &[
    "As one of the {who}, I want {wish}, so that {gain}.",
    "As one of the {who}, when {pain}, I want to see {what} at once, so that {gain}.",
    "As an admin, I want {check} before {change}, so that {gain}.",
];

pub const CRITERIA: &[&str] = &[
    "Given that {assumption}, when {who} open {what}, then they see {wish} within {n} seconds.",
    "Given an account with no history, when the page is opened, then {what} explains itself in one sentence.",
    "Given that {risk}, when it happens, then nothing is lost and {team} is told within {n} minutes.",
    "Given {n} people at once, when all of them change {what}, then each change is kept once.",
    "Given {check}, when it fails, then the release stops and {team2} is asked.",
];

/// Gaps and what can fill them.
pub const GAPS: &[(&str, &[&str])] = &[
    (
        "who",
        &[
            "product managers",
            "new admins",
            "finance leads",
            "people on small teams",
            "customers with several workspaces",
            "support agents",
            "engineers on call",
            "buyers in their first week",
            "heads of operations",
            "invited members",
        ],
    ),
    (
        "pain",
        &[
            "they learn about a limit only after it has stopped them",
            "the same fact is typed in three places",
            "nobody can say why a figure changed",
            "work waits for an approval that no one has seen",
            "they export to a spreadsheet to answer a simple question",
            "the first result comes after they have left the page",
            "a mistake is found by the customer",
            "they ask a colleague instead of the product",
        ],
    ),
    (
        "what",
        &[
            "the first page after sign-in",
            "the list of open work",
            "the cost preview",
            "the invitation flow",
            "search",
            "the audit trail",
            "the weekly summary",
            "the import",
            "the permission screen",
            "the empty state",
            "the notification settings",
        ],
    ),
    (
        "tool",
        &[
            "a shared spreadsheet",
            "a chat channel",
            "a script that one engineer keeps",
            "calendar reminders",
            "printed checklists",
        ],
    ),
    (
        "change",
        &[
            "showing the outcome before the button is pressed",
            "one owner for each step",
            "a default that is right for nine in ten",
            "moving the check to the start",
            "a plain-language reason beside each refusal",
            "saving drafts without asking",
            "grouping by customer instead of by date",
        ],
    ),
    (
        "metric",
        &[
            "the share of new accounts that finish setup",
            "time to the first useful result",
            "weekly active teams",
            "tickets for each hundred accounts",
            "the share of runs that nobody has to repeat",
            "renewals without a call",
        ],
    ),
    (
        "source",
        &[
            "the event log",
            "the support archive",
            "the billing records",
            "session recordings",
            "the sales notes",
            "the survey of last spring",
        ],
    ),
    (
        "assumption",
        &[
            "teams have one person who decides",
            "most of the work happens on weekdays",
            "people read the first line and no more",
            "the price is not the reason they leave",
            "an import is done once and never again",
        ],
    ),
    (
        "check",
        &[
            "a dry run on real data",
            "a review with two customers",
            "a load test at three times the usual traffic",
            "a look at the error budget",
            "the accessibility audit",
        ],
    ),
    (
        "exclusion",
        &[
            "a second dashboard",
            "settings for every case",
            "a mobile app of its own",
            "automatic changes without a preview",
            "a new permission model",
        ],
    ),
    (
        "risk",
        &[
            "the habit of the old way is stronger than the gain",
            "the import is slower than people expect",
            "one large customer sets the pace",
            "the data arrives late",
            "two teams read the same word differently",
            "the change lands in the busiest month",
        ],
    ),
    (
        "wish",
        &[
            "one place that shows what is waiting",
            "a warning before the limit",
            "the reason behind each figure",
            "an undo that works for a day",
            "the answer without a meeting",
            "a summary to forward",
        ],
    ),
    (
        "gain",
        &[
            "I can decide without asking around",
            "nobody is surprised at the end of the month",
            "I find the mistake before the customer does",
            "the handover takes minutes",
            "I can trust the number I report",
        ],
    ),
    ("team", &["the platform team", "the growth team", "the billing team", "the research group", "the data team"]),
    ("team2", &["design", "security", "customer success", "the support lead", "finance"]),
    (
        "when",
        &[
            "the end of the quarter",
            "the second release",
            "four weeks in use",
            "the next planning round",
            "the first hundred accounts",
        ],
    ),
    ("pct", &["12 %", "18 %", "23 %", "31 %", "44 %", "9 %"]),
    ("pct2", &["35 %", "52 %", "60 %", "71 %", "48 %"]),
    ("n", &["3", "4", "6", "8", "11", "14"]),
    ("m", &["16", "20", "24", "37", "52"]),
];

/// Headings below "areas".
pub const AREAS: &[&str] = &[
    "Onboarding",
    "Permissions",
    "Search and lists",
    "Notifications",
    "Import and export",
    "Reporting",
    "Billing and limits",
    "Collaboration",
    "Audit and history",
    "Performance",
    "Accessibility",
    "Integrations",
    "Mobile use",
    "Administration",
];
