//! Whether a route that was seen is the one that is meant.

use weft_contract::types::{LinkName, Route};

/// The main table's number, which a route without one means.
const MAIN: u32 = 254;

fn table(route: &Route) -> u32 {
    route.table.unwrap_or(MAIN)
}

fn agrees<T: PartialEq>(wish: &Option<T>, found: &Option<T>) -> bool {
    wish.is_none() || wish == found
}

fn same_where_given(wish: &Route, found: &Route) -> bool {
    wish.destination.network() == found.destination.network()
        && table(wish) == table(found)
        && agrees(&wish.source, &found.source)
        && agrees(&wish.metric, &found.metric)
        && agrees(&wish.scope, &found.scope)
        && agrees(&wish.mtu, &found.mtu)
        && agrees(&wish.advertised_mss, &found.advertised_mss)
}

/// Whether it does what is wanted: what the wish leaves out may be anything, but no gateway means directly reachable.
/// On-link is only about how the kernel checks the gateway when the route is added.
pub(crate) fn satisfies(found: &Route, wish: &Route) -> bool {
    same_where_given(wish, found) && wish.gateway == found.gateway
}

/// Whether a description of what must not be there fits, by the fields it gives.
pub(crate) fn is_meant(found: &Route, absent: &Route) -> bool {
    same_where_given(absent, found) && agrees(&absent.gateway, &found.gateway)
}

/// Those of a list that leave through a link.
pub(crate) fn through<'a>(routes: &'a [(LinkName, Route)], at: &'a LinkName) -> impl Iterator<Item = &'a Route> {
    routes.iter().filter(move |(link, _)| link == at).map(|(_, route)| route)
}
