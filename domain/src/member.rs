//! Owns: what each role may do in an account, and who may give which role to whom.
//! Does not own: who is a member (`server::member`), or what the installation's own admins may do.
//! Invariant: this table is the only place that knows; pages, API and jobs ask it.

use crate::denial::Denial;
use serde::{Deserialize, Serialize};

crate::text_enum! {
    /// What a user is in an account. The order is the one that lists show.
    Role {
        Owner = "owner",
        Admin = "admin",
        Billing = "billing",
        Developer = "developer",
        Viewer = "viewer",
    }
}

crate::text_enum! {
    /// Something that not every role may do.
    Permission {
        /// See the pages: balance, usage, runs, plan, members.
        ViewUsage = "view_usage",
        /// Spend the account's credit and allowance.
        RunTasks = "run_tasks",
        /// Add, change and remove the account's own keys of providers.
        ManageKeys = "manage_keys",
        /// Make and revoke API keys.
        ManageApiKeys = "manage_api_keys",
        /// Make, change, start, stop and delete agents.
        ManageAgents = "manage_agents",
        /// Buy credit, change the plan, ask for refunds.
        ManageBilling = "manage_billing",
        /// Invite people, change their role, remove them.
        ManageMembers = "manage_members",
        /// Rename the account, hand it over, delete it.
        ManageAccount = "manage_account",
    }
}

impl Role {
    /// Whether someone with this role may do it.
    pub const fn may(self, permission: Permission) -> bool {
        match permission {
            Permission::ViewUsage => true,
            Permission::RunTasks | Permission::ManageKeys | Permission::ManageApiKeys | Permission::ManageAgents => {
                matches!(self, Role::Owner | Role::Admin | Role::Developer)
            }
            Permission::ManageBilling => matches!(self, Role::Owner | Role::Admin | Role::Billing),
            Permission::ManageMembers => matches!(self, Role::Owner | Role::Admin),
            Permission::ManageAccount => matches!(self, Role::Owner),
        }
    }

    /// Whether someone with this role may give `role` to somebody, or take it from them: an owner any, an admin any but
    /// owner.
    pub const fn may_give(self, role: Role) -> bool {
        match self {
            Role::Owner => true,
            Role::Admin => !matches!(role, Role::Owner),
            Role::Billing | Role::Developer | Role::Viewer => false,
        }
    }

    /// The role as pages write it.
    pub const fn label(self) -> &'static str {
        match self {
            Role::Owner => "Owner",
            Role::Admin => "Admin",
            Role::Billing => "Billing",
            Role::Developer => "Developer",
            Role::Viewer => "Viewer",
        }
    }

    /// What it may do, in a few words for the person who chooses it.
    pub const fn summary(self) -> &'static str {
        match self {
            Role::Owner => "everything, also hand over or delete the account",
            Role::Admin => "everything but the account itself and its owners",
            Role::Billing => "sees everything, buys credit and changes the plan",
            Role::Developer => "runs tasks, manages keys and agents",
            Role::Viewer => "sees everything, changes nothing",
        }
    }
}

impl Permission {
    /// What one may do with it, after "may not".
    pub const fn what(self) -> &'static str {
        match self {
            Permission::ViewUsage => "see this account",
            Permission::RunTasks => "run tasks",
            Permission::ManageKeys => "change keys",
            Permission::ManageApiKeys => "make or revoke API keys",
            Permission::ManageAgents => "change agents",
            Permission::ManageBilling => "buy credit or change the plan",
            Permission::ManageMembers => "invite or change members",
            Permission::ManageAccount => "change the account itself",
        }
    }

    /// Who to ask, after "Ask": the roles that may do it.
    pub const fn who(self) -> &'static str {
        match self {
            Permission::ViewUsage => "a member",
            Permission::RunTasks | Permission::ManageKeys | Permission::ManageApiKeys | Permission::ManageAgents => {
                "an owner, admin or developer"
            }
            Permission::ManageBilling => "an owner, admin or billing member",
            Permission::ManageMembers => "an owner or admin",
            Permission::ManageAccount => "an owner",
        }
    }
}

/// Someone's place in an account, as far as it decides what they may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing<'a> {
    pub role: Role,
    pub account_name: &'a str,
}

impl Standing<'_> {
    /// The denial that names who may do it, unless this role may.
    pub fn require(self, permission: Permission) -> Result<(), Denial> {
        if self.role.may(permission) {
            return Ok(());
        }
        Err(Denial::RoleMayNot { role: self.role, permission, account: self.account_name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrix, as it is promised: a row for each role, a column for each permission of `Permission::ALL`.
    const MATRIX: [(Role, [bool; 8]); 5] = [
        //                usage  run    keys   api    agents billing members account
        (Role::Owner, [true, true, true, true, true, true, true, true]),
        (Role::Admin, [true, true, true, true, true, true, true, false]),
        (Role::Billing, [true, false, false, false, false, true, false, false]),
        (Role::Developer, [true, true, true, true, true, false, false, false]),
        (Role::Viewer, [true, false, false, false, false, false, false, false]),
    ];

    #[test]
    fn each_role_may_do_what_its_row_says() {
        for (role, row) in MATRIX {
            for (permission, may) in Permission::ALL.iter().copied().zip(row) {
                assert_eq!(role.may(permission), may, "{role} {permission}");
                let standing = Standing { role, account_name: "Northwind" };
                assert_eq!(standing.require(permission).is_ok(), may, "{role} {permission}");
            }
        }
        assert_eq!(MATRIX.map(|(role, _)| role), Role::ALL);
    }

    #[test]
    fn whom_a_denial_names_can_do_it() {
        for &permission in Permission::ALL {
            for &role in Role::ALL {
                let is_named = permission.who().contains(role.as_str());
                assert!(permission == Permission::ViewUsage || is_named == role.may(permission), "{permission} {role}");
            }
        }
    }

    #[test]
    fn only_an_owner_makes_or_unmakes_an_owner() {
        for &role in Role::ALL {
            assert!(Role::Owner.may_give(role));
            assert_eq!(Role::Admin.may_give(role), role != Role::Owner, "{role}");
            for giver in [Role::Billing, Role::Developer, Role::Viewer] {
                assert!(!giver.may_give(role), "{giver} {role}");
            }
        }
    }

    #[test]
    fn a_denial_says_the_role_the_deed_and_whom_to_ask() {
        let denied = Standing { role: Role::Viewer, account_name: "Northwind" }.require(Permission::ManageBilling);
        assert_eq!(
            denied.unwrap_err().sentence(),
            "Your role here is viewer, which may not buy credit or change the plan. Ask an owner, admin or billing \
             member of Northwind."
        );
    }
}
