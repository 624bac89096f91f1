//! A stream whose peer may not leave what was sent unread for ever, and that pauses between two writes of a long answer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Most bytes that are written without a pause: the kernel would take megabytes of a long answer at once, and those who
/// follow events would wait for that, and so would the ingest thread for the processor.
const WRITE: usize = 256 * 1024;
/// The pause: a long answer goes out with 128 to 256 MB a second.
const PAUSE: Duration = Duration::from_millis(1);

/// A stream that fails with [`io::ErrorKind::TimedOut`] when one write makes no progress for `limit`.
pub(super) struct Patient<S> {
    stream: S,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    /// Bytes written since the newest pause.
    written: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) const fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, waiting: None, written: 0, pause: None }
    }

    /// How much may be written now; `None` in a pause.
    fn room(&mut self, cx: &mut Context<'_>) -> Option<usize> {
        if self.written >= WRITE {
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(PAUSE)));
            if pause.as_mut().poll(cx).is_pending() {
                return None;
            }
            (self.pause, self.written) = (None, 0);
        }
        Some(WRITE - self.written)
    }

    fn count(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.written += bytes;
        }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        waiting.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(room) = self.room(cx) else { return Poll::Pending };
        let written = Pin::new(&mut self.stream).poll_write(cx, &bytes[..bytes.len().min(room)]);
        self.count(&written);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Small parts go together, a large one by itself and in pieces.
        let whole = parts.iter().map(|part| part.len()).sum::<usize>();
        if self.written + whole > WRITE {
            let first = parts.iter().find(|part| !part.is_empty());
            return self.poll_write(cx, first.map_or(&[], |part| part));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.count(&written);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes so many bytes and then nothing more.
    struct Stuck(usize);

    impl AsyncWrite for Stuck {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let fits = bytes.len().min(self.0);
            self.0 -= fits;
            if fits == 0 { Poll::Pending } else { Poll::Ready(Ok(fits)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Takes everything.
    struct Greedy(Vec<u8>);

    impl AsyncWrite for Greedy {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            parts: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            parts.iter().for_each(|part| self.0.extend_from_slice(part));
            Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Writes `bytes` behind a short head. Returns all of it, and what was written between two pauses.
    async fn write_all(bytes: &[u8]) -> (Vec<u8>, Vec<usize>) {
        let mut stream = Patient::new(Greedy(Vec::new()), Duration::from_secs(60));
        let head = *b"head";
        let all = [&head[..], bytes].concat();
        let (mut done, mut turns) = (0, vec![0]);
        while done < all.len() {
            let (first, second) = (&head[done.min(4)..], &bytes[done.saturating_sub(4)..]);
            let parts = [io::IoSlice::new(first), io::IoSlice::new(second)];
            let written = poll_fn(|cx| {
                let polled = Pin::new(&mut stream).poll_write_vectored(cx, &parts);
                if polled.is_pending() {
                    turns.push(0);
                }
                polled
            });
            let written = written.await.unwrap();
            done += written;
            *turns.last_mut().unwrap() += written;
        }
        assert_eq!(stream.stream.0, all);
        turns.retain(|turn| *turn > 0);
        (all, turns)
    }

    #[test]
    fn a_long_answer_is_written_in_pieces_with_pauses_between() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (all, turns) = write_all(&vec![7; 5 * WRITE]).await;
            assert_eq!(turns.iter().sum::<usize>(), all.len());
            assert!(turns.iter().all(|turn| *turn <= WRITE) && turns.len() == 6, "{turns:?}");
            let (all, turns) = write_all(b"small").await;
            assert_eq!(turns, [all.len()], "a small one goes at once, with its head");
        });
    }

    #[test]
    fn a_peer_that_reads_nothing_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut stream = Patient::new(Stuck(3), Duration::from_millis(5));
            let mut write = async || poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, b"four")).await;
            assert_eq!(write().await.unwrap(), 3);
            assert_eq!(write().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        });
    }
}
