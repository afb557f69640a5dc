//! `DomainService`.

use tonic::{Request, Response, Status};

use super::auth::Actor;
use super::mask::Mask;
use super::write::Write;
use super::{convert, names, page, status};
use crate::proto::admin::v1::domain_service_server::DomainService;
use crate::proto::admin::v1::{
    CreateDomainRequest, DeleteDomainRequest, Domain, GetDomainRequest, ListDomainsRequest,
    ListDomainsResponse, UpdateDomainRequest,
};
use crate::routing::{Change, Changed, DomainPatch, NewDomain, Routing, RulesOfDeleted, TempfailSetting};

/// Answers from the routing table.
#[derive(Debug)]
pub(super) struct Domains {
    pub(super) routing: Routing,
}

#[tonic::async_trait]
impl DomainService for Domains {
    async fn get_domain(&self, request: Request<GetDomainRequest>) -> Result<Response<Domain>, Status> {
        let entry = names::domain(&self.routing.snapshot(), "name", &request.into_inner().name)?;
        Ok(Response::new(convert::domain(&entry)))
    }

    async fn list_domains(
        &self,
        request: Request<ListDomainsRequest>,
    ) -> Result<Response<ListDomainsResponse>, Status> {
        const SCOPE: &str = "domains";
        let request = request.into_inner();
        let size = page::size(request.page_size)?;
        let table = self.routing.snapshot();
        let after = page::key(SCOPE, &request.page_token)?
            .map(|name| names::new_domain("page_token", &format!("domains/{name}")))
            .transpose()?;
        let token_of = |entry: &&std::sync::Arc<_>| {
            let entry: &crate::routing::DomainEntry = entry;
            page::token(SCOPE, entry.name.as_str())
        };
        let (entries, next_page_token) = match &after {
            Some(after) => page::take(table.domains_after(after), size, token_of),
            None => page::take(table.domains(), size, token_of),
        };
        let domains = entries.into_iter().map(|entry| convert::domain(entry)).collect();
        Ok(Response::new(ListDomainsResponse { domains, next_page_token }))
    }

    async fn create_domain(&self, request: Request<CreateDomainRequest>) -> Result<Response<Domain>, Status> {
        let write = Write::of(&request)?;
        if let Some(done) = write.before(&self.routing)? {
            return answer(done, &write.actor);
        }
        let domain = request.into_inner().domain.ok_or_else(|| status::invalid("domain", "is required"))?;
        let name = names::new_domain("domain.name", &domain.name)?;
        let new = NewDomain {
            enabled: domain.enabled.unwrap_or(true),
            on_tempfail: convert::on_tempfail(&domain)?,
            subaddressing: domain.subaddressing.unwrap_or(true),
            name,
        };
        let resource = format!("domains/{}", new.name);
        self.change(Change::CreateDomain(new), &write, &resource).await
    }

    async fn update_domain(&self, request: Request<UpdateDomainRequest>) -> Result<Response<Domain>, Status> {
        let write = Write::of(&request)?;
        if let Some(done) = write.before(&self.routing)? {
            return answer(done, &write.actor);
        }
        let request = request.into_inner();
        let domain = request.domain.ok_or_else(|| status::invalid("domain", "is required"))?;
        let mask = Mask::read(request.update_mask.as_ref(), &["enabled", "on_tempfail", "subaddressing"])?;
        let entry = names::domain(&self.routing.snapshot(), "domain.name", &domain.name)?;
        let mut patch = DomainPatch::default();
        if mask.names("enabled", domain.enabled.is_some()) {
            patch.enabled = Some(domain.enabled.unwrap_or(true));
        }
        if mask.names("on_tempfail", domain.on_tempfail != 0) {
            patch.on_tempfail = Some(TempfailSetting(convert::on_tempfail(&domain)?));
        }
        if mask.names("subaddressing", domain.subaddressing.is_some()) {
            patch.subaddressing = Some(domain.subaddressing.unwrap_or(true));
        }
        let etag = convert::etag_from("domain.etag", &domain.etag)?;
        let resource = entry.resource_name();
        let change = Change::UpdateDomain { name: entry.name.clone(), patch, etag };
        self.change(change, &write, &resource).await
    }

    async fn delete_domain(
        &self,
        request: Request<DeleteDomainRequest>,
    ) -> Result<Response<pbjson_types::Empty>, Status> {
        let write = Write::of(&request)?;
        let before = write.before(&self.routing)?;
        let request = request.into_inner();
        if before.is_some() {
            write.actor.did(&request.name, self.routing.snapshot().revision());
            return Ok(Response::new(pbjson_types::Empty {}));
        }
        let entry = names::domain(&self.routing.snapshot(), "name", &request.name)?;
        let rules = if request.force { RulesOfDeleted::Delete } else { RulesOfDeleted::Keep };
        let etag = convert::etag_from("etag", &request.etag)?;
        let resource = entry.resource_name();
        let change = Change::DeleteDomain { name: entry.name.clone(), rules, etag };
        write.actor.about(&resource);
        write.change(&self.routing, change, &resource).await?;
        write.actor.did(&resource, self.routing.snapshot().revision());
        Ok(Response::new(pbjson_types::Empty {}))
    }
}

impl Domains {
    async fn change(
        &self,
        change: Change,
        write: &Write,
        resource: &str,
    ) -> Result<Response<Domain>, Status> {
        write.actor.about(resource);
        answer(write.change(&self.routing, change, resource).await?, &write.actor)
    }
}

fn answer(changed: Changed, actor: &Actor) -> Result<Response<Domain>, Status> {
    let Changed::Domain(entry) = changed else { return Err(status::unexpected("a domain")) };
    actor.did(&entry.resource_name(), entry.revision);
    Ok(Response::new(convert::domain(&entry)))
}
