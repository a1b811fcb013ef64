-- One change of a subscription at a time: what a change costs was shown for the subscription as it stood, so two that are
-- confirmed in the same moment must not both be made. `changing_by` names what is changing it, until `changing_until`, when
-- whatever held it is taken for lost.
-- The SQLite twin has the same columns.
alter table subscription add column changing_by text;
alter table subscription add column changing_until bigint;
