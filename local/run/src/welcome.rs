//! What a local run prints at its start.

use tellonce_core::{
    client_config::{CalendarKind, FormConfig, FormScheme},
    provider::PROVIDER_NAME,
};
use tellonce_stack::LocalStack;

use crate::keyboard::KEYS_HELP;

/// The addresses, a request to try, and the keys.
pub(crate) fn render(stack: &LocalStack, needs_enter: bool) -> String {
    let (url, webhooks) = (stack.gateway_url(), stack.webhook_url());
    let routes: Vec<String> = stack
        .routes()
        .iter()
        .map(|(route, function)| format!("  {:<5} {webhooks}{}  →  {function}", route.method, route.path))
        .collect();
    let real: Vec<String> = stack.real_systems().iter().map(|system| format!("\n  real       {system}")).collect();
    let keys = if needs_enter { "Keys, each followed by Enter" } else { "Keys" };
    format!(
        "\nRunning client `{client}` on this machine\n\n\
         {routes}\n\
         \x20 console    {url}/\n\
         \x20 {PROVIDER_NAME} {provider} (fake)\n\
         \x20 logs       {logs}{real}\n\n\
         {try_it}{keys}: {KEYS_HELP}\n",
        client = stack.client_id(),
        routes = routes.join("\n"),
        provider = stack.provider().base_url(),
        real = real.concat(),
        logs = stack.logs_folder().display(),
        try_it = render_request(stack).unwrap_or_default(),
    )
}

/// A request that shows what happens without a proof, if a sender of this client posts.
fn render_request(stack: &LocalStack) -> Option<String> {
    let config = stack.loaded_client().config.clone()?;
    let store = config.stores.keys().next().map(|name| format!("/stores/{name}"));
    let calendar = || {
        let posts_json = |calendar: &CalendarKind| calendar.sender().is_some() && calendar.facts().body.json;
        let calendar = config.calendars.iter().find(|(_, calendar)| posts_json(&calendar.kind));
        calendar.map(|(name, _)| format!("/bookings/{name}"))
    };
    let form = || {
        // A wrong secret address is not an address: 404.
        let refuses_json = |form: &FormConfig| form.verify != FormScheme::SecretPath && form.kind.facts().body.json;
        config.forms.iter().find(|(_, form)| refuses_json(form)).map(|(name, _)| format!("/leads/{name}"))
    };
    let path = store.or_else(calendar).or_else(form)?;
    Some(format!(
        "Try: curl -i {}{path} -H 'Content-Type: application/json' -d '{{}}'\n     \
         Nothing signs it, so the response is 401.\n\n",
        stack.webhook_url()
    ))
}
