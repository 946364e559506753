//! The services that functions call.

/// A service that functions call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FakeService {
    /// `GET /api/v1/load_appointments/{id}`.
    Acuity,
    /// `GET /v2/customers/{id}`.
    Square,
    /// `GET …/{name}.ics`.
    Feed,
    /// Meta: `GET /v{version}/{id}`.
    Graph,
    /// `HubSpot` as a sender of leads: `GET /crm/v3/objects/contacts/{id}`.
    HubSpot,
    /// The CRMs of this kind.
    Crm(&'static str),
    /// The team targets of this kind.
    Target(&'static str),
}
