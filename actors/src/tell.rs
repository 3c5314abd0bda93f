//! Telling an actor something without waiting for an answer.
//!
//! actix's `do_send` ignores how full a mailbox is, and loses what is sent to an actor that has ended without a word. Nothing
//! here needs the bound: what fills mailboxes is bounded where it comes from, by the outbox and by slots. The loss is logged. It
//! costs nothing: whatever one actor tells another is told again, or taken care of, by the supervisor that sees it end.

use std::any::type_name;

use actix::dev::ToEnvelope;
use actix::prelude::*;

/// Somebody who can be told a message.
pub(crate) trait Tell<M> {
    /// Tells it, at once and in the order of the calls. To one that has ended nothing is told, and the log says so at debug.
    fn tell(&self, message: M);
}

impl<A, M> Tell<M> for Addr<A>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn tell(&self, message: M) {
        if self.connected() {
            self.do_send(message);
        } else {
            untold::<M>(type_name::<A>());
        }
    }
}

impl<M> Tell<M> for Recipient<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn tell(&self, message: M) {
        if self.connected() {
            self.do_send(message);
        } else {
            untold::<M>("its receiver");
        }
    }
}

fn untold<M>(receiver: &str) {
    log::debug!("{} is not told: {receiver} has ended", type_name::<M>());
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    struct Listener(Option<oneshot::Sender<u8>>);

    impl Actor for Listener {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Number(u8);

    impl Handler<Number> for Listener {
        type Result = ();

        fn handle(&mut self, Number(number): Number, ctx: &mut Self::Context) {
            if let Some(sender) = self.0.take() {
                sender.send(number).expect("the test waits for it");
            }
            ctx.stop();
        }
    }

    #[actix::test]
    async fn an_actor_is_told_until_it_has_ended() {
        let (sender, told) = oneshot::channel();
        let address = Listener(Some(sender)).start();
        address.tell(Number(7));
        assert_eq!(told.await, Ok(7));
        while address.connected() {
            tokio::task::yield_now().await;
        }
        address.tell(Number(8));
        address.recipient().tell(Number(9));
    }
}
