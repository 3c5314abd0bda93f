//! What the run asks of Lightning and of the engine before it may start.

use std::sync::Arc;
use std::time::Duration;

use log_events::{millis, table};
use protocol::ids::CredentialId;
use protocol::lightning::{
    FetchCredential, FetchDataclip, Refusal, RefusalMeaning, RunEvent, dataclip_bytes,
};
use protocol::phoenix::{Payload, ReplyStatus, error_detail};
use protocol::plan::{ConvertOptions, Converted, Input, LightningPlan, PlanError, convert};

use super::events::{Count, Effect, Timer, Turn};
use super::{Fact, RunMachine, State, request};
use crate::engine_pool::{PrepareError, Prepared};
use crate::lightning::Ticket;
use crate::run::fetch::Fetch;
use crate::run::loading::{Loading, exception};
use crate::traces::Moment;

/// What an answer to a request makes of it.
enum Answered {
    /// It is there, or cannot be had.
    Settled,
    /// Lightning says that the channel is not open.
    ChannelGone,
    /// It is asked for again after this time.
    Later(Duration, Refusal),
}

impl RunMachine {
    pub(super) fn ask_for_plan(&mut self, turn: &mut Turn<'_>) {
        let ticket = self.ticket();
        if let State::Joining(plan) = &mut self.state
            && plan.ask(ticket, turn.now)
        {
            turn.perform(request(ticket, RunEvent::FetchPlan, b"{}".to_vec()));
            self.trace(turn, || asked(ticket, RunEvent::FetchPlan, None));
        }
    }

    /// Sends whatever request is not on the way.
    pub(super) fn ask(&mut self, turn: &mut Turn<'_>) {
        if !self.channel.is_up() {
            return;
        }
        self.ask_for_plan(turn);
        let State::Loading(loading) = &mut self.state else {
            return;
        };
        let now = turn.now;
        let (traced, at) = (self.settings.traced, turn.time);
        let mut push =
            |ticket, event: RunEvent, id: &str, payload: serde_json::Result<Vec<u8>>| match payload
            {
                Ok(payload) => {
                    turn.perform(request(ticket, event, payload));
                    if traced {
                        let moment = asked(ticket, event, Some(id.to_owned()));
                        turn.perform(Effect::Trace { at, moment });
                    }
                }
                Err(error) => turn.log(
                    &table::EVENT_UNWRITABLE,
                    [
                        ("report", event.name().into()),
                        ("error", error.to_string().into()),
                    ],
                    format!("{} cannot be written as JSON: {error}", event.name()),
                ),
            };
        if let Some(id) = loading.dataclip_id.clone() {
            self.numbers += 1;
            let ticket = Ticket(self.numbers);
            if loading.dataclip.ask(ticket, now) {
                let payload = serde_json::to_vec(&FetchDataclip { id: id.clone() });
                push(ticket, RunEvent::FetchDataclip, id.as_str(), payload);
            }
        }
        for (id, fetch) in &mut loading.credentials {
            self.numbers += 1;
            let ticket = Ticket(self.numbers);
            if fetch.ask(ticket, now) {
                let payload = serde_json::to_vec(&FetchCredential { id: id.clone() });
                push(ticket, RunEvent::FetchCredential, id.as_str(), payload);
            }
        }
    }

    /// Takes the answer to a request; whether it was one.
    pub(super) fn request_answered(
        &mut self,
        ticket: Ticket,
        status: &ReplyStatus,
        response: &Payload,
        turn: &mut Turn<'_>,
    ) -> bool {
        match &mut self.state {
            State::Joining(plan) if plan.is_asked_by(ticket) => {
                self.trace(turn, || answered(ticket, status));
                self.plan_answered(status, response, turn);
                true
            }
            State::Loading(loading) if loading.dataclip.is_asked_by(ticket) => {
                let outcome = dataclip_answered(loading, status, response, turn);
                self.trace(turn, || answered(ticket, status));
                self.took(RunEvent::FetchDataclip, outcome, turn);
                true
            }
            State::Loading(loading) => {
                let mut credentials = loading.credentials.values_mut();
                let Some(fetch) = credentials.find(|fetch| fetch.is_asked_by(ticket)) else {
                    return false;
                };
                let outcome = credential_answered(fetch, status, response, turn);
                self.trace(turn, || answered(ticket, status));
                self.took(RunEvent::FetchCredential, outcome, turn);
                true
            }
            _ => false,
        }
    }

    fn took(&mut self, event: RunEvent, answered: Answered, turn: &mut Turn<'_>) {
        match answered {
            Answered::Settled => self.start_when_loaded(turn),
            Answered::ChannelGone => self.rejoin(turn),
            Answered::Later(wait, refusal) => self.ask_again(event, &refusal, wait, turn),
        }
    }

    /// Asks again after a while for what Lightning has refused, perhaps not for good.
    fn ask_again(&self, event: RunEvent, refusal: &Refusal, wait: Duration, turn: &mut Turn<'_>) {
        let event = event.name();
        turn.count(Count::Refused(event));
        turn.log(
            &table::RUN_REQUEST_REFUSED,
            [
                ("report", event.into()),
                ("error", refusal.to_string().into()),
                ("retry_ms", millis(wait).into()),
            ],
            format!(
                "Lightning refused {event} of run {}, it is asked again in {} ms: {refusal}",
                self.claimed.id,
                millis(wait)
            ),
        );
        turn.arm(Timer::Ask, wait);
    }

    fn plan_answered(&mut self, status: &ReplyStatus, response: &Payload, turn: &mut Turn<'_>) {
        if *status != ReplyStatus::Ok {
            self.plan_refused(response, turn);
            return;
        }
        let parsed = match response {
            Payload::Json(json) => {
                LightningPlan::from_json(json.get()).map_err(|error| error.to_string())
            }
            Payload::Binary(_) => Err("it is not JSON".to_owned()),
        };
        let converted =
            parsed.and_then(|plan| self.convert(plan, turn).map_err(|error| error.to_string()));
        match converted {
            Err(why) => {
                let why = format!("the plan cannot be used: {why}");
                self.end_unstarted(Fact::PlanDenied, &exception("PlanError", why), turn);
            }
            Ok(converted) => self.load(converted, turn),
        }
    }

    fn plan_refused(&mut self, response: &Payload, turn: &mut Turn<'_>) {
        let refusal = Refusal::from_payload(response);
        if refusal.meaning() == RefusalMeaning::ChannelGone {
            self.requests_lost();
            // Else the join was refused, and its own answer says so.
            if self.channel.is_up() {
                self.rejoin(turn);
            }
            return;
        }
        if let State::Joining(plan) = &mut self.state
            && refusal.may_pass()
            && let Some(wait) = plan.refused(turn.now)
        {
            self.ask_again(RunEvent::FetchPlan, &refusal, wait, turn);
            return;
        }
        let words = error_detail(RunEvent::FetchPlan.name(), response);
        self.end_unstarted(Fact::PlanDenied, &exception("LightningError", words), turn);
    }

    fn convert(&self, plan: LightningPlan, turn: &mut Turn<'_>) -> Result<Converted, PlanError> {
        let collections = self.settings.collections.as_ref();
        let options = ConvertOptions {
            collections_version: collections.map(|collections| collections.version.as_str()),
            collections_url: collections.map(|collections| collections.url.as_str()),
            run_token: &self.claimed.token,
            monorepo_dir: self.settings.monorepo_dir.as_deref(),
        };
        convert(plan, &options, &mut || turn.new_id())
    }

    fn load(&mut self, converted: Converted, turn: &mut Turn<'_>) {
        let Converted {
            plan,
            options,
            input,
            warnings,
        } = converted;
        for warning in warnings {
            turn.log(
                &table::RUN_PLAN_DOUBTFUL,
                [("error", warning.to_string().into())],
                format!("run {}: {warning}", self.claimed.id),
            );
        }
        let dataclip_id = match input {
            Input::Dataclip(id) => Some(id),
            Input::Empty => None,
        };
        let plan = Arc::new(plan);
        self.summary.project_id.clone_from(&plan.project_id);
        self.trace(turn, || Moment::Planned {
            project_id: plan.project_id.clone(),
        });
        let loading = Loading::new(Arc::clone(&plan), options, dataclip_id);
        let credentials: Vec<CredentialId> = loading.credentials.keys().cloned().collect();
        self.memory.will_read(credentials);
        self.enter(Fact::PlanGot, State::Loading(Box::new(loading)), turn);
        turn.perform(Effect::Prepare(plan));
        self.ask(turn);
        self.start_when_loaded(turn);
    }

    pub(super) fn prepared(
        &mut self,
        outcome: Result<Prepared, PrepareError>,
        turn: &mut Turn<'_>,
    ) {
        if let State::Loading(loading) = &mut self.state {
            loading.prepared = Some(outcome.map(Box::new));
            self.start_when_loaded(turn);
        }
    }
}

fn asked(ticket: Ticket, event: RunEvent, id: Option<String>) -> Moment {
    Moment::Asked {
        ticket: ticket.0,
        event: event.name(),
        id,
    }
}

fn answered(ticket: Ticket, status: &ReplyStatus) -> Moment {
    Moment::Answered {
        ticket: ticket.0,
        given: *status == ReplyStatus::Ok,
    }
}

fn dataclip_answered(
    loading: &mut Loading,
    status: &ReplyStatus,
    response: &Payload,
    turn: &Turn<'_>,
) -> Answered {
    let event = RunEvent::FetchDataclip.name();
    if *status != ReplyStatus::Ok {
        return refused(&mut loading.dataclip, event, response, turn);
    }
    match dataclip_bytes(response) {
        Ok(bytes) => loading.got_dataclip(bytes),
        Err(error) => loading.dataclip = Fetch::Failed(format!("[{event}] {error}")),
    }
    Answered::Settled
}

fn credential_answered(
    fetch: &mut Fetch<Box<serde_json::value::RawValue>>,
    status: &ReplyStatus,
    response: &Payload,
    turn: &Turn<'_>,
) -> Answered {
    let event = RunEvent::FetchCredential.name();
    if *status != ReplyStatus::Ok {
        return refused(fetch, event, response, turn);
    }
    *fetch = match response {
        Payload::Json(body) => Fetch::Got(body.clone()),
        Payload::Binary(_) => Fetch::Failed(format!("[{event}] the credential is not JSON")),
    };
    Answered::Settled
}

fn refused<T>(fetch: &mut Fetch<T>, event: &str, response: &Payload, turn: &Turn<'_>) -> Answered {
    let refusal = Refusal::from_payload(response);
    if refusal.meaning() == RefusalMeaning::ChannelGone {
        return Answered::ChannelGone;
    }
    if refusal.may_pass()
        && let Some(wait) = fetch.refused(turn.now)
    {
        return Answered::Later(wait, refusal);
    }
    *fetch = Fetch::Failed(error_detail(event, response));
    Answered::Settled
}
