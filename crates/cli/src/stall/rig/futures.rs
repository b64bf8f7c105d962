//! The loop of the peers whose requests are futures: one task, which polls them all whenever one
//! has ended.

use std::array;
use std::future::{Future, poll_fn};
use std::io;
use std::task::Poll;

use super::stream::{ColdRequest, Stream};
use super::{BLOCK, DEPTH, whole};

/// One round. `warm` starts a read of a block at an offset with one of the buffers, `cold` a cold
/// request.
pub(crate) async fn drive<B, W, C>(
    stream: &mut Stream<'_>,
    buffers: &mut [Option<B>; DEPTH],
    mut warm: impl FnMut(B, u64) -> W,
    mut cold: impl FnMut(ColdRequest) -> C,
) -> io::Result<()>
where
    W: Future<Output = (io::Result<usize>, B)>,
    C: Future<Output = io::Result<usize>>,
{
    let mut places: [_; DEPTH] = array::from_fn(|_| Box::pin(None));
    let mut cold_place = Box::pin(None);
    let mut cold_len = 0;
    let mut failed = Ok(());
    let mut begin = true;
    poll_fn(|context| {
        let now = if std::mem::take(&mut begin) {
            stream.begin()
        } else {
            stream.turn()
        };
        if let Some(request) = cold_place.as_mut().as_pin_mut()
            && let Poll::Ready(result) = C::poll(request, context)
        {
            cold_place.set(None);
            failed = std::mem::replace(&mut failed, Ok(())).and(whole(result, cold_len));
            stream.cold_ended(now);
        }
        let mut flying = false;
        for (place, future) in places.iter_mut().enumerate() {
            loop {
                if let Some(read) = future.as_mut().as_pin_mut() {
                    let Poll::Ready((result, buffer)) = W::poll(read, context) else {
                        flying = true;
                        break;
                    };
                    future.set(None);
                    buffers[place] = Some(buffer);
                    failed = std::mem::replace(&mut failed, Ok(())).and(whole(result, BLOCK));
                    stream.warm_ended(place, now);
                }
                if failed.is_err() || buffers[place].is_none() {
                    break;
                }
                let Some(offset) = stream.next_warm(place, now) else {
                    break;
                };
                let Some(buffer) = buffers[place].take() else {
                    break;
                };
                // Polled at once, so that it knows whom to wake.
                future.set(Some(warm(buffer, offset)));
            }
        }
        if failed.is_ok()
            && let Some(request) = stream.next_cold(now)
        {
            cold_len = request.len;
            cold_place.set(Some(cold(request)));
            if let Some(request) = cold_place.as_mut().as_pin_mut()
                && let Poll::Ready(result) = C::poll(request, context)
            {
                cold_place.set(None);
                failed = whole(result, cold_len);
                stream.cold_ended(now);
            }
        }
        if flying || cold_place.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    failed
}
