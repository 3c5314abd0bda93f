//! What Lightning keeps of a run's channel, and loses with it (protocol spec, section 4.1): the credentials that it hides in
//! lines of the log, and the response to a webhook. No actor, no clock, no I/O.

use std::collections::HashMap;

use protocol::ids::CredentialId;

use crate::lightning::Ticket;

/// Crashes of the channel under a repeated request for a credential after which none is made any more.
const MOST_CRASHES: u32 = 3;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct ChannelMemory {
    /// Credentials that the server has to read after a rejoin, or its scrubber lets them through (protocol spec,
    /// W16).
    credentials: Vec<CredentialId>,
    /// Those that were asked for again, and not answered yet.
    asked: HashMap<Ticket, CredentialId>,
    /// Crashes of the channel under such a request.
    crashes: u32,
    webhook_response: WebhookResponse,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum WebhookResponse {
    #[default]
    None,
    Sent,
}

/// What is to be read again after a rejoin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Restoring {
    All(Vec<CredentialId>),
    /// The channel crashes under it.
    GivenUp,
}

impl ChannelMemory {
    /// The run uses these.
    pub(super) fn will_read(&mut self, credentials: Vec<CredentialId>) {
        self.credentials = credentials;
    }

    /// No line of the log shows a credential.
    pub(super) fn need_no_credentials(&mut self) {
        self.credentials.clear();
    }

    /// A webhook response is among what is reported.
    pub(super) fn has_webhook_response(&mut self) {
        self.webhook_response = WebhookResponse::Sent;
    }

    /// Whether one may be forgotten when the channel is lost.
    pub(super) fn had_webhook_response(&self) -> bool {
        self.webhook_response == WebhookResponse::Sent
    }

    pub(super) fn restoring(&self) -> Restoring {
        if self.crashes >= MOST_CRASHES {
            Restoring::GivenUp
        } else {
            Restoring::All(self.credentials.clone())
        }
    }

    /// This one is asked for again.
    pub(super) fn restore(&mut self, ticket: Ticket, id: CredentialId) {
        self.asked.insert(ticket, id);
    }

    /// The credential that was asked for again with this ticket; it is answered now.
    pub(super) fn answered(&mut self, ticket: Ticket) -> Option<CredentialId> {
        self.asked.remove(&ticket)
    }

    /// The channel crashed with this push as the first that was unanswered.
    pub(super) fn crashed(&mut self, suspect: Ticket) {
        if self.asked.contains_key(&suspect) {
            self.crashes += 1;
        }
    }

    /// The channel is gone: what was asked for is not answered any more.
    pub(super) fn lost(&mut self) {
        self.asked.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_read_again_once_the_channel_has_crashed_under_it_three_times() {
        let id = CredentialId::new("c");
        let mut memory = ChannelMemory::default();
        memory.will_read(vec![id.clone()]);
        for number in 0..u64::from(MOST_CRASHES) {
            assert_eq!(memory.restoring(), Restoring::All(vec![id.clone()]));
            memory.restore(Ticket(number), id.clone());
            // Of something else.
            memory.crashed(Ticket(1000));
            memory.crashed(Ticket(number));
            memory.lost();
            assert_eq!(memory.answered(Ticket(number)), None);
        }
        assert_eq!(memory.restoring(), Restoring::GivenUp);
    }
}
