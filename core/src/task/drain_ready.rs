//! Batching for group commit.

use tokio::sync::mpsc::Receiver;
use tokio::task::yield_now;

/// Lets other ready tasks send, then drains the channel into the batch, up to `most` items in
/// total.
pub(crate) async fn drain_ready<T>(receiver: &mut Receiver<T>, batch: &mut Vec<T>, most: usize) {
    yield_now().await;
    while batch.len() < most
        && let Ok(one) = receiver.try_recv()
    {
        batch.push(one);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn who_is_ready_comes_along_and_no_more_than_there_is_room_for() {
        let (sender, mut receiver) = channel(8);
        let mut batch = vec![0];
        // Ready to run, and not polled yet.
        tokio::spawn(async move {
            for one in 1..=4 {
                sender.send(one).await.unwrap();
            }
        });
        drain_ready(&mut receiver, &mut batch, 3).await;
        assert_eq!(batch, [0, 1, 2]);
        drain_ready(&mut receiver, &mut batch, 9).await;
        assert_eq!(batch, [0, 1, 2, 3, 4]);
    }
}
