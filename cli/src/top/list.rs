//! A list with one chosen row, which stays chosen wherever it moves.

/// Rows by what each is known by.
#[derive(Debug)]
pub(super) struct List<T> {
    rows: Vec<T>,
    /// The chosen row; `None` while it is whichever comes first.
    chosen: Option<T>,
    /// Where it is.
    at: usize,
    /// The first row on the screen, and how many there is room for.
    offset: usize,
    page: usize,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), chosen: None, at: 0, offset: 0, page: 1 }
    }
}

impl<T: Clone + Ord> List<T> {
    /// Shows these rows. Where the chosen one is gone, the one in its place is chosen.
    pub(super) fn show(&mut self, rows: Vec<T>) {
        self.rows = rows;
        let Some(chosen) = &self.chosen else {
            self.at = 0;
            return;
        };
        match self.rows.iter().position(|row| row == chosen) {
            Some(at) => self.at = at,
            None => self.choose(self.at),
        }
    }

    fn choose(&mut self, at: usize) {
        self.at = at.min(self.rows.len().saturating_sub(1));
        self.chosen = self.rows.get(self.at).cloned();
    }

    /// Moves by so many rows; by the least number to the top, to stay there.
    pub(super) fn step(&mut self, by: isize) {
        if by == isize::MIN {
            (self.at, self.chosen) = (0, None);
        } else {
            self.choose(self.at.saturating_add_signed(by));
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn chosen(&self) -> Option<&T> {
        self.rows.get(self.at)
    }

    pub(super) const fn page(&self) -> usize {
        self.page
    }

    /// The rows that are on the screen where there is room for so many, and which of them is the chosen one.
    pub(super) fn window(&mut self, page: usize) -> (&[T], usize) {
        self.page = page;
        self.offset = self.offset.min(self.at).max((self.at + 1).saturating_sub(page));
        self.offset = self.offset.min(self.rows.len().saturating_sub(page));
        let end = self.rows.len().min(self.offset + page);
        (self.rows.get(self.offset..end).unwrap_or_default(), self.at - self.offset.min(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rows: &[u32]) -> List<u32> {
        let mut list = List::default();
        list.show(rows.to_vec());
        list
    }

    #[test]
    fn the_chosen_row_stays_chosen_where_rows_move() {
        let mut list = list(&[1, 2, 3]);
        list.step(1);
        list.show(vec![9, 8, 3, 2, 1]);
        assert_eq!(list.chosen(), Some(&2));
        list.show(vec![9, 8, 3]);
        assert_eq!(list.chosen(), Some(&3), "that in its place, or the last");
        list.show(vec![3, 9, 8]);
        assert_eq!(list.chosen(), Some(&3));
        list.show(Vec::new());
        assert_eq!(list.chosen(), None);
        list.show(vec![5, 6]);
        assert_eq!(list.chosen(), Some(&5));
    }

    #[test]
    fn who_has_not_moved_stays_at_the_top() {
        let mut list = list(&[1, 2, 3]);
        list.show(vec![7, 1, 2]);
        assert_eq!(list.chosen(), Some(&7));
        list.step(isize::MAX);
        assert_eq!(list.chosen(), Some(&2));
        list.step(isize::MIN);
        list.show(vec![4, 7]);
        assert_eq!(list.chosen(), Some(&4));
    }

    #[test]
    fn the_chosen_row_is_on_the_screen_and_no_room_is_wasted() {
        let rows: Vec<u32> = (0..100).collect();
        let mut list = list(&rows);
        for (by, first, chosen) in [(0, 0, 0), (9, 0, 9), (1, 1, 9), (-5, 1, 4), (-4, 1, 0), (-1, 0, 0), (500, 90, 9)] {
            list.step(by);
            let (shown, at) = list.window(10);
            assert_eq!((shown[0], at, shown.len()), (first, chosen, 10), "after {by}");
        }
        list.show(rows[..95].to_vec());
        assert_eq!(list.window(10), (&rows[85..95], 9));
        assert_eq!(list.window(200), (&rows[..95], 94));
        assert_eq!(list.window(0).0, &[] as &[u32]);
        list.show(Vec::new());
        assert_eq!(list.window(10), (&[] as &[u32], 0));
    }
}
