//! What Twilio's webhooks and its sockets have in common: whose account it is, whose a number is, and how the outside
//! reaches us.

use events::{AgentId, CallId, TenantId};
use projections::configuration::telephony;
use uuid::Uuid;

use crate::App;
use crate::config::TwilioAccount;
use crate::problem::Problem;
use crate::sockets::TWILIO_PATH;

/// Whose call it is to a number.
pub(crate) struct Route {
    pub tenant_id: TenantId,
    /// `None`: the tenant's first active one.
    pub agent_id: Option<AgentId>,
    /// Whose word counts for it.
    pub account: TwilioAccount,
}

/// The account whose calls the tenant takes: its own, or the installation's. `None`: there is neither.
///
/// # Errors
/// When the tables or the keyring are not to be had.
pub(crate) async fn account(app: &App, tenant_id: TenantId) -> Result<Option<TwilioAccount>, Problem> {
    let Some(own) = telephony::twilio_account(&app.database, tenant_id).await? else {
        return Ok(app.config.telephony.twilio.clone());
    };
    let token = app.keyring.open(tenant_id, own.auth_token_sealed_for, &own.auth_token).await?;
    Ok(token.map(|token| TwilioAccount { account_sid: own.account_sid, auth_token: token.into() }))
}

/// Who takes a call to `number` that comes from the account `account_sid`: of those who take calls from that account,
/// whoever has the number longest, else the default tenant. `None`: nobody.
///
/// # Errors
/// When the tables or the keyring are not to be had.
pub(crate) async fn route(app: &App, account_sid: &str, number: &str) -> Result<Option<Route>, Problem> {
    let holders = telephony::holders(&app.database, number).await?;
    let holders = holders.into_iter().map(|holder| (holder.tenant_id, Some(holder.agent_id)));
    let default = app.config.telephony.default_tenant_id.map(|tenant_id| (tenant_id, None));
    for (tenant_id, agent_id) in holders.chain(default) {
        let account = account(app, tenant_id).await?;
        if let Some(account) = account.filter(|account| account.account_sid == account_sid) {
            return Ok(Some(Route { tenant_id, agent_id, account }));
        }
    }
    Ok(None)
}

/// Whether a tenant that takes calls from the same account has assigned this number before.
///
/// # Errors
/// When the tables or the keyring are not to be had.
pub(crate) async fn is_another_tenants(
    app: &App,
    tenant_id: TenantId,
    number: &str,
) -> Result<bool, Problem> {
    let own = account(app, tenant_id).await?.map(|account| account.account_sid);
    for holder in telephony::holders(&app.database, number).await? {
        if holder.tenant_id == tenant_id {
            return Ok(false);
        }
        let theirs = account(app, holder.tenant_id).await?.map(|account| account.account_sid);
        if theirs == own {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The call that Twilio calls `call_sid`: the same whenever it is asked.
pub(crate) fn call_id(tenant_id: TenantId, call_sid: &str) -> CallId {
    CallId(Uuid::new_v5(&tenant_id.0, call_sid.as_bytes()))
}

/// Where a stream is opened; `wss` wherever the installation is reached by https.
pub(crate) fn socket_url(app_url: &str) -> String {
    let rest = app_url.strip_prefix("http").unwrap_or(app_url);
    format!("ws{rest}{TWILIO_PATH}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_where_the_installation_is() {
        assert_eq!(socket_url("https://voice.example.com"), "wss://voice.example.com/ws/voice-twilio");
        assert_eq!(socket_url("http://localhost:8000"), "ws://localhost:8000/ws/voice-twilio");
    }

    #[test]
    fn a_call_has_one_id_in_its_tenant_and_another_in_others() {
        let (one, two) = (TenantId::new(), TenantId::new());
        assert_eq!(call_id(one, "CA1"), call_id(one, "CA1"));
        assert_ne!(call_id(one, "CA1"), call_id(one, "CA2"));
        assert_ne!(call_id(one, "CA1"), call_id(two, "CA1"));
    }
}
