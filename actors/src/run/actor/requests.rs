//! What the run asks of Lightning and of the engine before it may start.

use super::{
    ActorFutureExt, AsyncContext, Context, ConvertOptions, Converted, CredentialId, Duration,
    Fetch, FetchCredential, FetchDataclip, Input, Instant, LightningPlan, Loading, Payload, Phase,
    Prepare, PrepareError, Prepared, Refusal, RefusalMeaning, ReplyStatus, Run, RunEvent, Ticket,
    WrapFuture, convert, dataclip_bytes, error_detail, exception, new_id,
};

impl Run {
    pub(super) fn ask_for_plan(&mut self) {
        let ticket = self.ticket();
        if let Phase::Joining { plan } = &mut self.phase
            && plan.ask(ticket, Instant::now())
        {
            self.push(ticket, RunEvent::FetchPlan.name(), b"{}".to_vec().into());
        }
    }

    /// Sends whatever request is not on the way.
    pub(super) fn ask(&mut self) {
        if !self.link.is_up() {
            return;
        }
        self.ask_for_plan();
        let now = Instant::now();
        let mut pushes = Vec::new();
        if let Phase::Loading(loading) = &mut self.phase {
            if let Some(id) = loading.dataclip_id.clone() {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                if loading.dataclip.ask(ticket, now) {
                    pushes.push((
                        ticket,
                        RunEvent::FetchDataclip,
                        serde_json::to_vec(&FetchDataclip { id }),
                    ));
                }
            }
            for (id, fetch) in &mut loading.credentials {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                if fetch.ask(ticket, now) {
                    let payload = serde_json::to_vec(&FetchCredential { id: id.clone() });
                    pushes.push((ticket, RunEvent::FetchCredential, payload));
                }
            }
        }
        for (ticket, event, payload) in pushes {
            match payload {
                Ok(payload) => self.push(ticket, event.name(), payload.into()),
                Err(error) => {
                    log::error!(run_id = self.claimed.id.as_str(); "{} cannot be written as JSON: {error}", event.name());
                }
            }
        }
    }

    /// Asks again after a while for what Lightning has refused, perhaps not for good.
    fn ask_again(
        &self,
        event: RunEvent,
        refusal: &Refusal,
        wait: Duration,
        ctx: &mut Context<Self>,
    ) {
        let event = event.name();
        self.context.config.metrics.refused(event);
        log::warn!(run_id = self.claimed.id.as_str(), event = event; "Lightning refused {event} of run {}, it is asked again in {} ms: {refusal}", self.claimed.id, wait.as_millis());
        ctx.run_later(wait, |this, _| this.ask());
    }

    pub(super) fn plan_answered(
        &mut self,
        status: &ReplyStatus,
        response: &Payload,
        ctx: &mut Context<Self>,
    ) {
        if *status != ReplyStatus::Ok {
            let refusal = Refusal::from_payload(response);
            if refusal.meaning() == RefusalMeaning::ChannelGone {
                self.requests_lost();
                // Else the join was refused, and its own answer says so.
                if self.link.is_up() {
                    self.rejoin(ctx);
                }
                return;
            }
            if let Phase::Joining { plan } = &mut self.phase
                && refusal.may_pass()
                && let Some(wait) = plan.refused(Instant::now())
            {
                self.ask_again(RunEvent::FetchPlan, &refusal, wait, ctx);
                return;
            }
            let words = error_detail(RunEvent::FetchPlan.name(), response);
            self.end_unstarted(&exception("LightningError", words), ctx);
            return;
        }
        let parsed = match response {
            Payload::Json(json) => {
                LightningPlan::from_json(json.get()).map_err(|error| error.to_string())
            }
            Payload::Binary(_) => Err("it is not JSON".to_owned()),
        };
        let converted =
            parsed.and_then(|plan| self.convert(plan).map_err(|error| error.to_string()));
        match converted {
            Err(why) => {
                let why = format!("the plan cannot be used: {why}");
                self.end_unstarted(&exception("PlanError", why), ctx);
            }
            Ok(converted) => self.load(converted, ctx),
        }
    }

    pub(super) fn convert(
        &self,
        plan: LightningPlan,
    ) -> Result<Converted, protocol::plan::PlanError> {
        let config = &self.context.config;
        let node = match &config.engine {
            crate::config::EngineConfig::Node(node) => node.monorepo_dir.as_deref(),
            crate::config::EngineConfig::Mock | crate::config::EngineConfig::Recorded(_) => None,
        };
        let monorepo_dir = node.map(|dir| dir.to_string_lossy().into_owned());
        let collections = config
            .collections
            .as_ref()
            .zip(self.context.collections_version.as_deref());
        let options = ConvertOptions {
            collections_version: collections.map(|(_, version)| version),
            collections_url: collections.map(|(collections, _)| collections.url.as_str()),
            run_token: &self.claimed.token,
            monorepo_dir: monorepo_dir.as_deref(),
        };
        convert(plan, &options, &mut new_id)
    }

    pub(super) fn load(&mut self, converted: Converted, ctx: &mut Context<Self>) {
        let Converted {
            plan,
            options,
            input,
            warnings,
        } = converted;
        for warning in warnings {
            log::warn!(run_id = self.claimed.id.as_str(); "run {}: {warning}", self.claimed.id);
        }
        let dataclip_id = match input {
            Input::Dataclip(id) => Some(id),
            Input::Empty => None,
        };
        let loading = Loading::new(plan, options, dataclip_id);
        self.credentials = loading.credentials.keys().cloned().collect();
        self.enter(Phase::Loading(Box::new(loading)));
        self.prepare(ctx);
        self.ask();
        self.start_when_loaded(ctx);
    }

    pub(super) fn prepare(&mut self, ctx: &mut Context<Self>) {
        let Phase::Loading(loading) = &self.phase else {
            return;
        };
        let prepare = Prepare {
            run_id: self.claimed.id.clone(),
            plan: loading.plan.clone(),
        };
        let answer = self.context.engine.send(prepare).into_actor(self);
        ctx.spawn(answer.map(|answer, this, ctx| {
            // A pool that died is replaced, and its successor asked again (see `EngineLost`).
            if let Ok(outcome) = answer {
                this.prepared(outcome, ctx);
            }
        }));
    }

    pub(super) fn prepared(
        &mut self,
        outcome: Result<Prepared, PrepareError>,
        ctx: &mut Context<Self>,
    ) {
        if let Phase::Loading(loading) = &mut self.phase {
            loading.prepared = Some(outcome.map(Box::new));
            self.start_when_loaded(ctx);
        }
    }

    pub(super) fn dataclip_answered(
        &mut self,
        status: &ReplyStatus,
        response: &Payload,
        ctx: &mut Context<Self>,
    ) {
        let Phase::Loading(loading) = &mut self.phase else {
            return;
        };
        let event = RunEvent::FetchDataclip.name();
        if *status == ReplyStatus::Ok {
            match dataclip_bytes(response) {
                Ok(bytes) => loading.got_dataclip(bytes),
                Err(error) => loading.dataclip = Fetch::Failed(format!("[{event}] {error}")),
            }
        } else {
            let refusal = Refusal::from_payload(response);
            if refusal.meaning() == RefusalMeaning::ChannelGone {
                self.rejoin(ctx);
                return;
            }
            if refusal.may_pass()
                && let Some(wait) = loading.dataclip.refused(Instant::now())
            {
                self.ask_again(RunEvent::FetchDataclip, &refusal, wait, ctx);
                return;
            }
            loading.dataclip = Fetch::Failed(error_detail(event, response));
        }
        self.start_when_loaded(ctx);
    }

    pub(super) fn credential_answered(
        &mut self,
        id: &CredentialId,
        status: &ReplyStatus,
        response: &Payload,
        ctx: &mut Context<Self>,
    ) {
        let Phase::Loading(loading) = &mut self.phase else {
            return;
        };
        let Some(fetch) = loading.credentials.get_mut(id) else {
            return;
        };
        let event = RunEvent::FetchCredential.name();
        if *status == ReplyStatus::Ok {
            *fetch = match response {
                Payload::Json(body) => Fetch::Got(body.clone()),
                Payload::Binary(_) => {
                    Fetch::Failed(format!("[{event}] the credential is not JSON"))
                }
            };
        } else {
            let refusal = Refusal::from_payload(response);
            if refusal.meaning() == RefusalMeaning::ChannelGone {
                self.rejoin(ctx);
                return;
            }
            if refusal.may_pass()
                && let Some(wait) = fetch.refused(Instant::now())
            {
                self.ask_again(RunEvent::FetchCredential, &refusal, wait, ctx);
                return;
            }
            *fetch = Fetch::Failed(error_detail(event, response));
        }
        self.start_when_loaded(ctx);
    }
}
